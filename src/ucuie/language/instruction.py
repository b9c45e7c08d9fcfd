r"""The instruction I of a prompt: a wording with the schema in it, then what the types mean.

    Find all events of these types with their trigger and arguments: {Speech: [Speaker, Place], Attack: []}
    Speech: someone addresses an audience
    Speech.Speaker: the person who talks
    Text:

Frames without slots are plain names as long as no frame of the schema has slots: `{person, city}`. Where
a schema can be read two ways, names are escaped with `\`; a name is shown otherwise as it stands.
"""

import re
from collections.abc import Iterator

from ucuie.errors import ConfigError, show
from ucuie.language.linearize import escape_name
from ucuie.language.pool import PLACEHOLDER, wording_faults
from ucuie.schema import Frame, Schema

_LIST_SPECIAL = re.compile(r"[,\[\]{}]")


def build_instruction(wording: str, schema: Schema) -> str:
    """The instruction I; the text follows it directly.

    Raises:
        ConfigError: the wording is not one line with one `{schema}`.
    """
    faults = wording_faults(wording)
    if faults:
        raise ConfigError(f"{show(wording)} is not a wording: {'; '.join(faults)}")
    request = wording.replace(PLACEHOLDER, _schema_text(schema))
    return "\n".join([request, *_description_lines(schema), "Text:"])


def _schema_text(schema: Schema) -> str:
    has_slots = any(frame.slots for frame in schema.frames)
    frames = (_frame_text(frame) if has_slots else _listed(frame.name) for frame in schema.frames)
    return "{" + ", ".join(frames) + "}"


def _frame_text(frame: Frame) -> str:
    return f"{_listed(frame.name)}: [{', '.join(map(_listed, frame.slot_names))}]"


def _description_lines(schema: Schema) -> Iterator[str]:
    for frame in schema.frames:
        # The first unescaped dot of a line divides frame and slot.
        frame_name = _listed(frame.name).replace(".", r"\.")
        described = [(frame_name, frame.description)]
        described += [(f"{frame_name}.{_listed(slot.name)}", slot.description) for slot in frame.slots]
        for name, description in described:
            # One line each, whatever line breaks a description was written with.
            words = (description or "").split()
            if words:
                yield f"{name}: {' '.join(words)}"


def _listed(name: str) -> str:
    """A name as the schema shows it: escaped as in the output, then for the list and the line it is in."""
    return _LIST_SPECIAL.sub(r"\\\g<0>", escape_name(name)).replace("\n", r"\n")
