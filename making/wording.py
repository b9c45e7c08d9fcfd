"""The words that a schema asks in: other names of types and roles, descriptions, and ways of writing them.

A name is replaced in the schema and in the records alike, so that an example says the same in other words.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from ucuie.schema import FilledSlot, Frame, Record, Schema, Slot

NAMES = Path(__file__).with_name("descriptions.yaml")


class OtherWords(BaseModel):
    """What else a type may be called, what it is, and what else its roles may be called."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...] = ()
    description: str | None = None
    slots: Mapping[str, tuple[str, ...]] = {}


@dataclass(frozen=True)
class Wording:
    """How often names change.

    Args:
        renamed: the share of types that get another name, where one is known.
        described: the share of schemas whose types are described, half of these only in part.
        styled: the share of schemas whose names are written in another way, such as in capitals.
    """

    renamed: float = 0.3
    described: float = 0.4
    styled: float = 0.12


@cache
def _all_words() -> dict[str, dict[str, OtherWords]]:
    """What `descriptions.yaml` knows, by kind and name of the type."""
    plain = yaml.safe_load(NAMES.read_text("utf-8"))
    return {
        kind: {name: OtherWords.model_validate(words) for name, words in types.items()}
        for kind, types in plain.items()
    }


def other_words(frame: Frame) -> OtherWords:
    """What `descriptions.yaml` knows of a type; a relation named "director" is another than such a person."""
    slots = set(frame.slot_names)
    if not slots:
        kind = "entities"
    elif slots == {"aspect", "opinion"}:
        kind = "opinions"
    else:
        kind = "relations" if {"subject", "object"} <= slots else "events"
    return _all_words()[kind].get(frame.name, OtherWords())


def reworded(schema: Schema, wording: Wording, generator: random.Random) -> tuple[Schema, "Renaming"]:
    """The schema in other words, and what was renamed; frames and slots stay in their order."""
    part_described = generator.choice((0.5, 1.0)) if generator.random() < wording.described else 0.0
    style = generator.choice(STYLES) if generator.random() < wording.styled else _as_it_is
    taken = set(schema.frame_names)
    frames, slots = {}, {}
    changed = []
    for frame in schema.frames:
        words = other_words(frame)
        is_renamed = generator.random() < wording.renamed
        name = generator.choice(words.names) if is_renamed and words.names else frame.name
        name = style(name) if _WORDS.fullmatch(name) else name
        if name != frame.name and name in taken:
            name = frame.name
        taken.add(name)
        frames[frame.name] = name
        is_described = generator.random() < part_described
        slots[frame.name] = _slot_names(frame, words if is_renamed else OtherWords(), style, generator)
        changed.append(
            Frame(
                name=name,
                description=(frame.description or words.description) if is_described else None,
                slots=tuple(
                    Slot(
                        name=slots[frame.name][slot.name],
                        description=slot.description if is_described else None,
                        required=slot.required,
                    )
                    for slot in frame.slots
                ),
            )
        )
    return Schema(frames=tuple(changed)), Renaming(frames, slots)


def _slot_names(
    frame: Frame, words: OtherWords, style: Callable[[str], str], generator: random.Random
) -> dict[str, str]:
    names: dict[str, str] = {}
    for slot in frame.slots:
        others = words.slots.get(slot.name, ())
        name = style(generator.choice(others) if others else slot.name)
        others_of_frame = {*frame.slot_names, *names.values()} - {slot.name}
        names[slot.name] = slot.name if name in others_of_frame else name
    return names


@dataclass(frozen=True)
class Renaming:
    """The new names of frames, and of slots by the frame's old name."""

    frames: Mapping[str, str]
    slots: Mapping[str, Mapping[str, str]]

    def applied(self, records: Sequence[Record]) -> list[Record]:
        """The records with the new names."""
        return [
            record.model_copy(
                update={
                    "frame": self.frames[record.frame],
                    "slots": tuple(
                        FilledSlot(slot=self.slots[record.frame][one.slot], filler=one.filler)
                        for one in record.slots
                    ),
                }
            )
            for record in records
        ]


_WORDS = re.compile(r"[\w-]+(?: [\w-]+){0,3}")
"""Names of a few words without commas, brackets or question marks: nobody writes others in another way."""
_NO_NOUN = re.compile(r"(?:[^a-z]|s|ed|ing|\b(?:in|of|at|by|for|to))$")


def _as_it_is(name: str) -> str:
    return name


def _title(name: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in name.split(" "))


def _upper(name: str) -> str:
    return name.upper()


def _upper_snake(name: str) -> str:
    return name.upper().replace(" ", "_")


def _snake(name: str) -> str:
    return name.casefold().replace(" ", "_")


def _camel(name: str) -> str:
    first, *rest = re.split(r"[\s-]+", name) or [name]
    return first[:1].casefold() + first[1:] + "".join(word[:1].upper() + word[1:] for word in rest)


def _pascal(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[\s-]+", name))


def _plural(name: str) -> str:
    """The plural of a name of one or two words that ends like a noun; others stay."""
    if (
        len(name.split()) > 2
        or not re.search(r"[a-z]$", name)
        or re.search(r"(?:s|ed|ing|in|of|at|by|for|to)$", name)
    ):
        return name
    if re.search(r"[^aeiou]y$", name):
        return name[:-1] + "ies"
    irregular = {"person": "people", "people": "people"}
    return irregular.get(name) or name + ("es" if re.search(r"(?:ch|sh|x|z)$", name) else "s")


STYLES: Sequence[Callable[[str], str]] = (
    _title,
    _title,
    _upper,
    _upper_snake,
    _snake,
    _camel,
    _pascal,
    _plural,
)
"""The ways that users write names; title case is the commonest."""
