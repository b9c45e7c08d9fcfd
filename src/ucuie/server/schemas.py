"""The schemas that a server knows by name: those that come with it, and those of a folder."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from ucuie.errors import SchemaError, did_you_mean, show
from ucuie.schema import Frame, Schema

_EXAMPLES = Path(__file__).with_name("examples.yaml")
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class NamedSchema:
    """A schema that requests may name.

    Args:
        name: what requests write instead of the schema.
        title: what it is for; empty if nobody said so.
        schema: the schema.
        text: one to try it on; empty if there is none.
    """

    name: str
    title: str
    schema: Schema
    text: str


class NamedSchemas:
    """Schemas by name, in order; those of a folder come first and go before others of the same name.

    Args:
        folder: YAML and JSON files, each a schema by the name of the file; None for those that come along.

    Raises:
        SchemaError: the folder or a file of it cannot be read.
    """

    def __init__(self, folder: Path | None = None) -> None:
        examples = yaml.safe_load(_EXAMPLES.read_text("utf-8"))
        known = {} if folder is None else _read_folder(folder)
        for name, example in examples.items():
            schema = Schema.of(example["schema"])
            known.setdefault(name, NamedSchema(name, example["title"], schema, example["text"]))
        self._by_name: Mapping[str, NamedSchema] = known

    def all(self) -> tuple[NamedSchema, ...]:
        """Every schema, in order."""
        return tuple(self._by_name.values())

    def __getitem__(self, name: str) -> NamedSchema:
        """The schema of that name.

        Raises:
            SchemaError: there is none; the message names the nearest.
        """
        if name not in self._by_name:
            raise SchemaError(f"the server knows no schema {show(name)}{did_you_mean(name, self._by_name)}")
        return self._by_name[name]


def _read_folder(folder: Path) -> dict[str, NamedSchema]:
    if not folder.is_dir():
        raise SchemaError(f"schema error: there is no folder {show(str(folder))}")
    paths = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    if not paths:
        raise SchemaError(
            f"schema error: {show(str(folder))} holds no schema; put YAML or JSON files into it"
        )
    return {path.stem: NamedSchema(path.stem, "", Schema.of(path), "") for path in paths}


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
