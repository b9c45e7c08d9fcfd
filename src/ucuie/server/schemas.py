"""The schemas that a server knows by name: those of a folder, examples, the package's ready ones."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from ucuie.errors import SchemaError, did_you_mean, show
from ucuie.schema import Schema
from ucuie.schema.sources import ready_schemas, title_of

_EXAMPLES = Path(__file__).with_name("examples.yaml")
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class NamedSchema:
    """A schema that requests may name instead of writing it, with what it is for and a text to try it on."""

    name: str
    title: str
    schema: Schema
    text: str
    """Empty, as the title, where there is none."""


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
            named = NamedSchema(name, example["title"], Schema.of(example["schema"]), example["text"])
            known.setdefault(name, named)
        for name, path in ready_schemas().items():
            known.setdefault(name, NamedSchema(name, title_of(path), Schema.of(path), ""))
        self._by_name = known

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
        raise SchemaError(f"there is no folder {show(str(folder))}")
    paths = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    if not paths:
        raise SchemaError(f"{show(str(folder))} holds no schema; put YAML or JSON files into it")
    return {path.stem: NamedSchema(path.stem, "", Schema.of(path), "") for path in paths}
