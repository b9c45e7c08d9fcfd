"""Help with schemas: making them from what people have instead, and saying what would make one better.

Models read names and descriptions as people do, so what confuses a person who is new to the task is warned
about. Nothing here keeps a schema from being used.
"""

import importlib
import json
import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from itertools import combinations
from pathlib import Path
from typing import Any, TypeGuard

import yaml
from pydantic import BaseModel

from ucuie.errors import SchemaError, did_you_mean, show
from ucuie.schema.model import Frame, Schema, Slot
from ucuie.schema.sources import FRAME_KEYS, SLOT_KEYS, read_schema_source

MANY_FRAMES = 40
LONG_NAME = 40
LONG_DESCRIPTION = 200
_Place = tuple[str | int, ...]
_Doubt = tuple[_Place, str]
"""A warning with its place in the schema, such as ("frames", 0, "slots", 1)."""
_SIMILAR_NAMES = 0.92
_SIMILAR_WORDS = 0.75
_MAX_COMPARED = 500
"""Names that are compared with each other; their pairs would take minutes beyond that."""
_WRITTEN_OUT = {
    "per": "person",
    "org": "organization",
    "loc": "location",
    "gpe": "country, city or state",
    "misc": "the kinds that are meant",
    "fac": "building",
    "veh": "vehicle",
    "wea": "weapon",
    "rel": "the relation's own name",
    "evt": "event",
    "pos": "positive",
    "neg": "negative",
    "neu": "neutral",
}
_VAGUE = {"other", "misc", "miscellaneous", "entity", "thing", "item", "object", "unknown", "none", "null"}
_SECTIONS = {"entities", "relations", "events", "classifications", "structures"}
"""Of a schema of GLiNER2: kinds of types, not types."""
_STOP_WORDS = frozenset(
    {"a", "an", "and", "as", "by", "for", "from", "in", "is", "of", "or", "that", "the", "to", "who"}
)


@dataclass(frozen=True)
class Advice:
    """A doubt about a schema and what to do; the line counts from 1, None if the source has none."""

    words: str
    line: int | None = None


@dataclass(frozen=True)
class CheckedSchema:
    """A schema that can be used, with what would make it better."""

    schema: Schema
    advice: tuple[Advice, ...]


def check_schema(source: Any) -> CheckedSchema:
    """Whatever `Schema.of` reads, with the warnings about it in the order of its lines.

    Raises:
        SchemaError: the schema cannot be used; all faults at once.
    """
    schema = Schema.of(source)
    read = read_schema_source(schema.model_dump() if isinstance(source, Schema) else source)
    advice = [Advice(words, read.line_at(*place)) for place, words in _warnings(schema)]
    return CheckedSchema(schema, tuple(sorted(advice, key=lambda one: one.line or 0)))


def _warnings(schema: Schema) -> Iterator[_Doubt]:
    if len(schema.frames) > MANY_FRAMES:
        words = (
            f"{len(schema.frames)} types in one schema: the more there are, the slower and less sure the "
            "answers; ask for groups of them one after another"
        )
        yield (), words
    yield from _pairs(schema.frames, ("frames",), "types")
    for index, frame in enumerate(schema.frames):
        place = ("frames", index)
        yield from ((place, words) for words in _about(frame, "type"))
        if frame.name.casefold() in _SECTIONS and frame.slots:
            words = (
                f"{show(frame.name)} was read as a type with slots; types stand by themselves, in no section"
            )
            yield place, words
        yield from _pairs(frame.slots, (*place, "slots"), f"slots of {show(frame.name)}")
        for number, slot in enumerate(frame.slots):
            doubts = (*_about(slot, "slot"), *_misplaced(slot, frame))
            yield from (((*place, "slots", number), words) for words in doubts)


def _about(one: Frame | Slot, kind: str) -> Iterator[str]:
    name, description = one.name, one.description
    word = name.casefold()
    if written := _WRITTEN_OUT.get(re.sub(r"^[bis]-", "", word)):
        yield f"the {kind} {show(name)} is an abbreviation; write out {written!r}"
    elif word in _VAGUE and kind == "type" and description is None:
        yield f"the {kind} {show(name)} does not say what belongs to it; give it a description"
    elif "_" in name or re.search(r"[a-z][A-Z]", name):
        plain = re.sub(r"_+|(?<=[a-z])(?=[A-Z])", " ", name).strip().lower()
        yield f"the {kind} {show(name)} reads better as {plain!r}: names are words to the model"
    if len(name) > LONG_NAME:
        yield f"the {kind} {show(name)} is long; a short name and a description say it better"
    if description is not None and len(description) > LONG_DESCRIPTION:
        yield (
            f"the description of {show(name)} has {len(description)} characters; a sentence of up to "
            f"{LONG_DESCRIPTION} is read with every text"
        )
    if description is not None and _words(description) <= _words(name):
        yield f"the description of {show(name)} says no more than the name; leave it out or add to it"


def _misplaced(slot: Slot, frame: Frame) -> Iterator[str]:
    if slot.name.casefold() == frame.name.casefold():
        yield f"the slot {show(slot.name)} is named like its type; the mention itself is found without a slot"
    if near := get_close_matches(slot.name, FRAME_KEYS | SLOT_KEYS, n=1, cutoff=0.8):
        hint = "" if slot.name == near[0] else f"; did you mean {near[0]!r}?"
        yield f"{show(slot.name)} of {show(frame.name)} was read as a slot, not as a key{hint}"


def _pairs(many: Sequence[Frame | Slot], place: _Place, kind: str) -> Iterator[_Doubt]:
    """Names and descriptions that are hard to tell apart, at the later of the two."""
    for (_, first), (index, second) in combinations(enumerate(many[:_MAX_COMPARED]), 2):
        both = f"the {kind} {show(first.name)} and {show(second.name)} have nearly the same"
        if _is_alike(first.name, second.name):
            yield (*place, index), f"{both} name; keep one, or say in descriptions what parts them"
        elif first.description and second.description and _overlap(first.description, second.description):
            yield (*place, index), f"{both} description; say what is true of only one of them"


def _is_alike(first: str, second: str) -> bool:
    first, second = _plain(first), _plain(second)
    if first == second:
        return True
    if abs(len(first) - len(second)) > 2:
        return False
    return SequenceMatcher(None, first, second, autojunk=False).ratio() > _SIMILAR_NAMES


def _plain(name: str) -> str:
    """Without case, punctuation and plural, and with one spelling of each character."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", name).casefold().replace("_", " "))
    return " ".join(word.removesuffix("s") if len(word) > 3 else word for word in words)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold().replace("_", " "))) - _STOP_WORDS


def _overlap(first: str, second: str) -> bool:
    one, other = _words(first), _words(second)
    return len(one & other) > _SIMILAR_WORDS * len(one | other)


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
    return ({} if frame.description is None else {"description": frame.description}) | {"slots": slots}


def _dump(value: object) -> str:
    # PyYAML writes the line breaks of Unicode as they are, and reads them back as blanks.
    is_plain = json.dumps(value, ensure_ascii=False).isprintable()
    return yaml.safe_dump(value, allow_unicode=is_plain, sort_keys=False, default_flow_style=None, width=100)


_COMMA = re.compile(r",(?![^()]*\))")
_ITEM = re.compile(r"([^()]+)(?:\(([^()]*)\))?")


def schema_of_names(names: str) -> Schema:
    """The schema of names with commas between them: "person, city, works for (person, company)".

    Raises:
        SchemaError: there is no name, a bracket has no partner, or a name stands there twice.
    """
    frames: list[dict[str, object]] = []
    for item in filter(None, map(str.strip, _COMMA.split(names))):
        match = _ITEM.fullmatch(item)
        if match is None:
            example = "'works for (person, company)'"
            raise SchemaError(f"{show(item)} is no name with perhaps slots in brackets, such as {example}")
        slots = [slot.strip() for slot in (match[2] or "").split(",") if slot.strip()]
        frames.append({"name": match[1].strip(), "slots": slots})
    return Schema.of({"frames": frames})


def class_named(address: str) -> type[BaseModel]:
    """The pydantic class at "module:Class", or "file.py:Class"; its module is imported, so its code runs.

    Raises:
        SchemaError: the module does not import, or has no such pydantic class.
    """
    place, separator, name = address.rpartition(":")
    if not separator or not place or not name:
        raise SchemaError(f"{show(address)} is no address of a class; write module:Class or file.py:Class")
    module = _module_at(place)
    found = getattr(module, name, None)
    if _is_model(found):
        return found
    models = sorted(key for key, value in vars(module).items() if _is_model(value))
    is_none = f"{place} has no class {show(name)}"
    is_other = f"{show(name)} in {place} is no pydantic model class"
    raise SchemaError(f"{is_none if found is None else is_other}{did_you_mean(name, models)}")


def _is_model(value: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel


def _module_at(place: str) -> object:
    path = Path(place)
    folder, name = (path.parent, path.stem) if path.suffix == ".py" else (Path(), place)
    # As `python -m` would: what lies here is found, whichever way the command was started.
    sys.path.insert(0, str(folder.resolve()))
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever the user's module raises
        raise SchemaError(f"{place} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
