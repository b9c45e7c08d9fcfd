"""Reads every way of writing a schema down into one plain form, `{"frames": [...]}`.

The forms, from the shortest:

- a list of names: `["person", "city"]`;
- a mapping from frame to slots: `{"works for": ["person", "company"]}`, slots as a list, as a mapping
  from slot to description, or as `{"description": ..., "slots": ...}`; a string alone is a description;
- the canonical form: `{"frames": [{"name": ..., "description": ..., "slots": [...]}]}`;
- a JSON Schema, or the pydantic model class that has it: an object is a frame, its properties are slots; one
  whose properties are lists of objects is a schema of those frames (`json_schema`);
- JSON text, or the path of a YAML or JSON file with any of the above (without classes);
- the name of one of the ready schemas that come with the package.

What the names mean and whether they contradict each other is checked in `model`, not here. Ready schemas are
the files `ready/NAME.yaml`; the first line of each is a comment with its title.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ucuie.errors import SchemaError, did_you_mean, listed, show
from ucuie.schema.json_schema import frames_of_class, frames_of_json_schema, is_json_schema

FRAME_KEYS = {"description", "slots"}
SLOT_KEYS = {"description", "required"}

HINT = (
    'a schema is a list of names, a mapping from frame to slots, {"frames": [...]}, '
    "a file with one of these, or the name of a ready schema"
)


@dataclass(frozen=True)
class SchemaSource:
    """A schema in plain form, with the place it came from for error messages."""

    plain: dict[str, Any]
    origin: str

    def explain(self, error: ValidationError) -> str:
        """All faults that validation found, each with its line where the source has lines."""
        lines = []
        for fault in error.errors():
            line = self.line_at(*fault["loc"], *fault.get("ctx", {}).get("within", ()))
            place = self.origin if line is None else f"{self.origin}, line {line}"
            lines.append(f"{_message(fault)} ({place})")
        return "\n".join(listed(lines))

    def line_at(self, *location: int | str) -> int | None:
        """The line of a place such as ("frames", 0, "slots", 1), counted from 1, if the source has lines.

        It is that of the innermost string on the way there.
        """
        node: Any = self.plain
        line = _first_line(node)
        for step in location:
            if isinstance(node, Mapping):
                line = next((_first_line(key) for key in node if key == step), None) or line
            try:
                node = node[step]
            except (KeyError, IndexError, TypeError):
                break
            line = _first_line(node) or line
        return line


def _message(fault: ErrorDetails) -> str:
    """A fault in words; one that pydantic words itself gets its place and value."""
    if fault["type"] in {"value_error", "repetition"}:
        return fault["msg"].removeprefix("Value error, ")
    *within, last = fault["loc"]
    owner = ".".join(map(str, within))
    if fault["type"] == "extra_forbidden":
        keys = ("name", *sorted(SLOT_KEYS if "slots" in within else FRAME_KEYS))
        return f"{owner}: the key {show(last)} is not known{did_you_mean(str(last), keys)}"
    if fault["type"] == "missing":
        return f"{owner}: the key {show(last)} is missing in {show(fault['input'])}"
    if fault["type"] == "string_type" and last == "description" and "slots" in within:
        return (
            f"{show(fault['input'])} stands where the description of a slot should be; slots of a frame that "
            "has other keys stand under 'slots'"
        )
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}, got {show(fault['input'])}"


def read_schema_source(source: Any) -> SchemaSource:
    """Any accepted form of a schema (see the module's docstring) in its plain form.

    Raises:
        SchemaError: the file is missing, the YAML or JSON is malformed (with its line), or the form is
            none of the accepted ones.
    """
    if isinstance(source, str) and source.lstrip()[:1] in {"{", "["}:
        return SchemaSource(_canonical(_parse_json(source, "the schema text")), "the schema text")
    if isinstance(source, str) and not source.strip():
        raise SchemaError(f"{show(source)} is not a schema; {HINT}")
    if isinstance(source, str | Path):
        path = Path(source)
        # A path, and a name that a file has, are no names of ready schemas.
        if isinstance(source, str) and source in ready_schemas() and not path.is_file():
            path = ready_schemas()[source]
        return SchemaSource(_canonical(_read_file(path)), str(path))
    return SchemaSource(_canonical(source), "the schema")


def read_schema_yaml(text: str) -> SchemaSource:
    """The content of a YAML file in its plain form; raises as `read_schema_source`."""
    return SchemaSource(_canonical(_parse_yaml(text, "the YAML")), "the YAML")


def _canonical(source: Any) -> dict[str, Any]:
    if _is_class(source):
        return {"frames": frames_of_class(source)}
    if isinstance(source, Mapping):
        try:
            if is_json_schema(source):
                return {"frames": frames_of_json_schema(source)}
        except RecursionError:
            raise SchemaError(f"the JSON Schema is nested too deeply; {HINT}") from None
        if set(source) != {"frames"} or not _is_list(source["frames"]):
            return {"frames": [_frame(name, content) for name, content in source.items()]}
        source = source["frames"]
    if not _is_list(source):
        raise SchemaError(f"{show(source)} is not a schema; {HINT}")
    return {"frames": [frame for item in source for frame in _listed_frames(item)]}


def _is_class(item: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(item, type) and issubclass(item, BaseModel)


def _listed_frames(item: Any) -> list[dict[str, Any]]:
    if _is_class(item):
        return frames_of_class(item)
    if isinstance(item, Mapping):
        frame = dict(item)
        if "slots" in frame:
            frame["slots"] = _slots(frame["slots"])
        return [frame]
    return [{"name": item}]


def _frame(name: Any, content: Any) -> dict[str, Any]:
    if isinstance(content, str):
        return {"name": name, "description": content}
    if isinstance(content, Mapping) and content and set(content) <= FRAME_KEYS:
        return {"name": name, **content, "slots": _slots(content.get("slots"))}
    return {"name": name, "slots": _slots(content)}


def _slots(content: Any) -> list[Any]:
    if content is None:
        return []
    if isinstance(content, Mapping):
        return [_slot(name, value) for name, value in content.items()]
    if not _is_list(content):
        raise SchemaError(f"{show(content)} is not a list of slots; {HINT}")
    return [dict(item) if isinstance(item, Mapping) else {"name": item} for item in content]


def _slot(name: Any, content: Any) -> dict[str, Any]:
    if isinstance(content, Mapping) and set(content) <= SLOT_KEYS:
        return {"name": name, **content}
    return {"name": name, "description": content}


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _read_file(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows editors like to begin with a byte order mark
    except FileNotFoundError:
        # Whoever writes no suffix meant a name rather than a file.
        hint = HINT if path.suffix else f"{HINT}{did_you_mean(str(path), ready_schemas())}"
        raise SchemaError(f"there is no file {show(str(path))}; {hint}") from None
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or no possible name of a file
        reason = error.strerror if isinstance(error, OSError) else error
        raise SchemaError(f"{show(str(path))} cannot be read: {reason}; {HINT}") from None
    return (_parse_json if path.suffix == ".json" else _parse_yaml)(text, str(path))


def _parse_json(text: str, origin: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        raise SchemaError(f"{error.msg} ({origin}, line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise SchemaError(f"{origin} is nested too deeply; {HINT}") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise SchemaError(
            f"the key {show(max(counts, key=counts.__getitem__))} stands twice in one JSON object"
        )
    return unique


def _parse_yaml(text: str, origin: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader subclass
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise SchemaError(f"{error.problem} ({origin}, line {line})") from None
    except yaml.YAMLError as error:
        raise SchemaError(f"{error} ({origin})") from None
    except RecursionError:
        raise SchemaError(f"{origin} is nested too deeply; {HINT}") from None


def _first_line(node: Any) -> int | None:
    if isinstance(node, _LocatedString):
        return node.line
    if isinstance(node, Mapping):
        return _first_line(node.get("name"))
    return None


class _LocatedString(str):
    """A string that remembers the line of the file it stands on."""

    line: int


class _Loader(yaml.SafeLoader):
    """Every scalar is a string or null (`no` is a name, not false), strings have lines, and keys are unique.

    Nothing may refer to another place: a few lines of references to references would fill any memory.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - declared by the base class
        first: [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:null"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            problem = "a schema is written out, without references to other places"
            raise yaml.composer.ComposerError(None, None, problem, mark)
        return super().compose_node(parent, index)

    def construct_located_string(self, node: yaml.ScalarNode) -> _LocatedString:
        string = _LocatedString(self.construct_scalar(node))
        string.line = node.start_mark.line + 1
        return string

    def construct_unique_mapping(self, node: yaml.MappingNode) -> dict[Any, Any]:
        mapping = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str) or key in mapping:
                is_name = isinstance(key, str)
                problem = f"the key {show(str(key))} stands twice" if is_name else "a key is not a name"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            mapping[key] = self.construct_object(value_node, deep=True)
        return mapping


_Loader.add_constructor("tag:yaml.org,2002:str", _Loader.construct_located_string)
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_unique_mapping)


@cache
def ready_schemas() -> dict[str, Path]:
    """The files of the ready schemas by their names, in alphabetical order."""
    return {path.stem: path for path in sorted(Path(__file__).with_name("ready").glob("*.yaml"))}


def title_of(path: Path) -> str:
    """The purpose of a ready schema, in a few words."""
    first_line, _, _ = path.read_text("utf-8").partition("\n")
    return first_line.removeprefix("#").strip()
