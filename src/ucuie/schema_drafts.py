"""Makes schemas from what people have instead of one: names in a sentence, a class by its address."""

import importlib
import re
import sys
from pathlib import Path

from pydantic import BaseModel

from ucuie.errors import SchemaError, did_you_mean, show
from ucuie.schema import Schema

# Commas, semicolons and line breaks part names, and so do the words before the last one.
_SEPARATOR = re.compile(r"[,;\n]+|\s+(?:and|or|&)\s+")
_ITEM = re.compile(r"\s*(?:(?:and|or)\b\s*)?([^()]*?)\s*(?:\(([^()]*)\))?\s*\.?\s*")
_OUTSIDE_BRACKETS = re.compile(r"(?:[,;\n]|\s(?:and|or|&)\s)(?![^()]*\))")


def schema_of_names(sentence: str) -> Schema:
    """The schema of names as people list them: "person, city and works for (person, company)".

    Raises:
        SchemaError: there is no name, a bracket has no partner, or a name stands there twice.
    """
    frames: list[dict[str, object]] = []
    for item in _OUTSIDE_BRACKETS.split(sentence):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise SchemaError(
                f"schema error: {show(item.strip())} is no name with perhaps slots in brackets, such as "
                "'works for (person, company)'"
            )
        name, slots = match.groups()
        if name:
            frames.append({"name": name, "slots": _names(slots or "")})
        elif slots is not None:
            raise SchemaError(f"schema error: the slots ({slots}) have no name before them")
    return Schema.of({"frames": frames})


def _names(listed: str) -> list[str]:
    names = (re.sub(r"^(?:and|or)\b\s*", "", name.strip()) for name in _SEPARATOR.split(listed))
    return [name for name in names if name]


def class_named(address: str) -> type[BaseModel]:
    """The pydantic class at "module:Class", or "file.py:Class"; its module is imported, so its code runs.

    Raises:
        SchemaError: there is no such module or class, the module does not import, or the class is no
            pydantic model.
    """
    place, separator, name = address.rpartition(":")
    if not separator or not place or not name:
        raise SchemaError(
            f"schema error: {show(address)} is no address of a class; write module:Class or file.py:Class"
        )
    module = _module_at(place)
    found = getattr(module, name, None)
    models = sorted(key for key, value in vars(module).items() if _is_model(value))
    if found is None:
        raise SchemaError(f"schema error: {place} has no class {show(name)}{did_you_mean(name, models)}")
    if not _is_model(found):
        raise SchemaError(
            f"schema error: {show(name)} in {place} is no pydantic model class{did_you_mean(name, models)}"
        )
    return found  # type: ignore[no-any-return]  # `_is_model` said so


def _is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel


def _module_at(place: str) -> object:
    path = Path(place)
    folder, name = (path.parent, path.stem) if path.suffix == ".py" else (Path(), place)
    # As `python -m` would: what lies here is found, whichever way the command was started.
    sys.path.insert(0, str(folder.resolve()))
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever the user's module raises
        raise SchemaError(
            f"schema error: {place} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.pop(0)
