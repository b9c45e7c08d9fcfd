"""Reads a JSON Schema, or a pydantic class by the JSON Schema that it has, as frames.

An object is a frame and its properties are slots; an object whose properties are lists of objects is a schema
of those frames. Types, limits and choices of values have no place among frames: what is found is always text.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema

from ucuie.errors import SchemaError, show

_ALTERNATIVES = ("anyOf", "oneOf", "allOf")
_INNER = (*_ALTERNATIVES, "items", "prefixItems", "additionalProperties")
_KEYS = {"type", "$ref", "enum", "const", *_INNER, "properties"}
_WRAPPERS = ("schema", "json_schema", "parameters", "input_schema", "function")
"""Under one of these a model's API wants the JSON Schema."""
_MOST_SLOTS, _MOST_ALTERNATIVES, _MOST_REFERENCES = 10_000, 100, 10
"""Properties may all refer to one place: a short schema can describe more than any memory holds."""


def is_json_schema(source: Mapping[Any, Any]) -> bool:
    """True for what is, or was meant as, a JSON Schema; False for a mapping from frames to slots."""
    if "$schema" in source and not isinstance(source["$schema"], Mapping):
        return True
    properties = source.get("properties")
    return (
        (source.get("type") == "object" and isinstance(properties, Mapping))
        or (source.get("type") == "array" and isinstance(source.get("items"), Mapping))
        or isinstance(source.get("$ref"), str)
        or (isinstance(properties, Mapping) and any(map(_has_keys, properties.values())))
        or any(_has_keys(one) for key in _ALTERNATIVES for one in _listed(source.get(key)))
        or _wrapper(source) is not None
    )


def _has_keys(content: Any) -> bool:
    return isinstance(content, Mapping) and not _KEYS.isdisjoint(content)


def _wrapper(source: Mapping[Any, Any]) -> str | None:
    """The key of a JSON Schema in the form that models' APIs want."""
    inner = ((key, source.get(key)) for key in _WRAPPERS)
    return next((key for key, one in inner if isinstance(one, Mapping) and is_json_schema(one)), None)


class _AnyField(GenerateJsonSchema):
    """Of a class whose fields may be anything: what is found is text."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - of the base class

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {}


def frames_of_class(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The frames of a class, in plain form; raises as `frames_of_json_schema`."""
    try:
        source = model.model_json_schema(schema_generator=_AnyField)
    except PydanticUserError as error:
        raise SchemaError(f"class {model.__name__} cannot be read: {error.message}") from None
    return frames_of_json_schema(source, f"class {model.__name__}")


def frames_of_json_schema(source: Mapping[str, Any], owner: str = "the JSON Schema") -> list[dict[str, Any]]:
    """The frames of a JSON Schema, in plain form; errors call it as `owner`.

    Raises:
        SchemaError: it describes no object, refers to what is not in it or in a circle, nests objects in
            slots, mixes lists of objects with other properties, or is wrapped in something else.
    """
    if key := _wrapper(source):
        raise SchemaError(
            f"this looks like a JSON Schema in a wrapper; give what stands under {show(key)} alone"
        )
    root = _resolved(source, source)
    properties = _properties(root, owner) if "items" not in root else {"record": root}
    listed = {name: _listed_object(content, source) for name, content in properties.items()}
    num_slots = sum(
        len(_properties(found, show(name))) for name, found in listed.items() if found is not None
    )
    if num_slots > _MOST_SLOTS:
        raise SchemaError(f"the JSON Schema describes {num_slots:,} slots; {_MOST_SLOTS:,} are the most")
    titles = {name: _title(found, name) for name, found in listed.items() if found is not None}
    counts = Counter(titles.values())
    seen: set[int] = set()
    frames = [
        # Two lists of one class differ in their properties alone.
        _frame(found, titles[name] if counts[titles[name]] == 1 else name, source, seen)
        for name, found in listed.items()
        if found is not None
    ]
    if not frames:
        return [_frame(root, _title(root, "record"), source, seen)]
    if len(frames) < len(listed):
        others = ", ".join(show(name) for name, found in listed.items() if found is None)
        raise SchemaError(
            f"{owner} mixes lists of objects (frames) with other properties (slots: "
            f"{others}); put the slots into an object of their own"
        )
    return frames


def _title(content: Mapping[str, Any], name: str) -> str:
    title = content.get("title")
    return title if isinstance(title, str) and title else name


def _frame(content: Mapping[str, Any], name: str, root: Mapping[str, Any], seen: set[int]) -> dict[str, Any]:
    """A frame in plain form; what was `seen` holds no objects, and is not looked at again."""
    return {
        "name": name,
        "description": content.get("description"),
        "slots": [
            {"name": slot, "description": _slot_description(slot, one, name, root, seen)}
            for slot, one in _properties(content, show(name)).items()
        ],
    }


def _slot_description(slot: str, content: Any, frame: str, root: Mapping[str, Any], seen: set[int]) -> Any:
    if _holds_object(content, root, seen):
        raise SchemaError(
            f"the property {show(slot)} of {show(frame)} is an object itself, or holds some; slots hold "
            "text, so put its properties into the frame, or make it a list at the top level"
        )
    # Beside a reference, or behind it.
    return content.get("description") or _resolved(content, root).get("description")


def _properties(content: Mapping[str, Any], owner: str) -> Mapping[str, Any]:
    properties = content.get("properties")
    # A class without fields is a frame without slots; an object without a name either is nothing.
    if not isinstance(properties, Mapping) or not (properties or content.get("title")):
        raise SchemaError(
            f"{owner} describes no object with properties; an object is a frame, its properties are slots"
        )
    for name, one in properties.items():
        if not isinstance(one, Mapping):
            raise SchemaError(f"the property {show(name)} of {owner} is {show(one)}, not a JSON Schema")
    return properties


def _listed_object(content: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of the items, if they are objects with properties."""
    for option in _options(content, root):
        items = option.get("items")
        if isinstance(items, Mapping) and "properties" in (found := _resolved(items, root)):
            return found
    return None


def _holds_object(content: Any, root: Mapping[str, Any], seen: set[int]) -> bool:
    """Tell whether there are objects with properties anywhere within a schema that was not seen before."""
    found = _resolved(content, root)
    if id(found) in seen:
        return False
    seen.add(id(found))
    inner = [one for key in _INNER for one in _listed(found.get(key)) if isinstance(one, Mapping)]
    return "properties" in found or any(_holds_object(one, root, seen) for one in inner)


def _listed(value: Any) -> list[Any]:
    """Schemas, of a list of them or of one."""
    if isinstance(value, Mapping):
        return [value]
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []


def _options(content: Any, root: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A schema, or each of its alternatives: pydantic writes `X | None` as `anyOf`."""
    found = _resolved(content, root)
    yield found
    for key in _ALTERNATIVES:
        alternatives = _listed(found.get(key))
        if len(alternatives) > _MOST_ALTERNATIVES:
            raise SchemaError(
                f"{key} has {len(alternatives):,} alternatives; {_MOST_ALTERNATIVES} are the most"
            )
        yield from (_resolved(one, root) for one in alternatives)


def _resolved(content: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema itself, or the one that it refers to."""
    seen: set[str] = set()
    while isinstance(content, Mapping) and isinstance(reference := content.get("$ref"), str):
        if reference in seen:
            raise SchemaError(f"the reference {show(reference)} leads back to itself")
        if len(seen) == _MOST_REFERENCES:
            raise SchemaError(
                f"the reference {show(reference)} follows {len(seen)} others, which are the most"
            )
        seen.add(reference)
        content = _place(reference, root)
    if not isinstance(content, Mapping):
        raise SchemaError(f"{show(content)} stands where a JSON Schema should be")
    return content


def _place(reference: str, root: Mapping[str, Any]) -> Any:
    start, *steps = reference.split("/")
    node: Any = root
    for step in steps:
        key = step.replace("~1", "/").replace("~0", "~")
        if start != "#" or not isinstance(node, Mapping) or key not in node:
            raise SchemaError(
                f"the reference {show(reference)} leads to nothing in the JSON Schema; only "
                "references within it, such as '#/$defs/Person', are followed"
            )
        node = node[key]
    if start != "#":
        raise SchemaError(
            f"the reference {show(reference)} leads out of the JSON Schema; copy there what it refers to"
        )
    return node
