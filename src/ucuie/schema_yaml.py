"""Writes schemas as short YAML, for people to go on from."""

import json

import yaml

from ucuie.schema import Frame, Schema


def schema_yaml(schema: Schema) -> str:
    """A schema as short YAML, which `Schema.from_yaml` reads back."""
    if all(not frame.slots and frame.description is None for frame in schema.frames):
        return _dump([frame.name for frame in schema.frames])
    return _dump({frame.name: _frame_content(frame) for frame in schema.frames})


def _frame_content(frame: Frame) -> object:
    slots: object = list(frame.slot_names)
    if any(slot.description is not None or slot.required for slot in frame.slots):
        slots = {slot.name: slot.model_dump(exclude={"name"}) or None for slot in frame.slots}
    # A list under the name "frames" would be read as the frames of the schema, and a mapping from "slots" or
    # "description" as a frame's own keys.
    elif frame.name != "frames" and frame.description is None:
        return slots
    return (
        {"slots": slots} if frame.description is None else {"description": frame.description, "slots": slots}
    )


def _dump(value: object) -> str:
    # PyYAML writes the line breaks of Unicode as they are, and reads them back as blanks.
    is_plain = json.dumps(value, ensure_ascii=False).isprintable()
    return yaml.safe_dump(value, allow_unicode=is_plain, sort_keys=False, default_flow_style=None, width=100)
