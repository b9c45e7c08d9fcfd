"""Reads a JSON Schema as frames, as the pydantic classes are read that it may come from.

An object is a frame and its properties are slots; an object whose properties are lists of objects is a schema
of those frames. Types, limits and choices of values have no place among frames: what is found is always text.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ucuie.errors import SchemaError, show

_ALTERNATIVES = ("anyOf", "oneOf", "allOf")
_MOST_SLOTS, _MOST_ALTERNATIVES, _MOST_REFERENCES = 10_000, 100, 10
"""Properties may all refer to one place: a short schema can describe more than any memory holds."""


def is_json_schema(source: Mapping[Any, Any]) -> bool:
    """True for a JSON Schema of an object, False for a mapping from frames to slots."""
    is_object = source.get("type") == "object" and isinstance(source.get("properties"), Mapping)
    return is_object or ("$schema" in source and not isinstance(source["$schema"], Mapping))


def frames_of_json_schema(source: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The frames of a JSON Schema, in plain form.

    Raises:
        SchemaError: it describes no object, refers to what is not in it or in a circle, nests objects in
            slots, or mixes lists of objects with other properties.
    """
    root = _resolved(source, source)
    properties = _properties(root, "the JSON Schema")
    listed = {name: _listed_object(content, source) for name, content in properties.items()}
    num_slots = sum(
        len(_properties(found, show(name))) for name, found in listed.items() if found is not None
    )
    if num_slots > _MOST_SLOTS:
        raise SchemaError(f"the JSON Schema describes {num_slots:,} slots; {_MOST_SLOTS:,} are the most")
    frames = [_frame(found, name, source) for name, found in listed.items() if found is not None]
    if not frames:
        return [_frame(root, "record", source)]
    if len(frames) < len(listed):
        others = ", ".join(show(name) for name, found in listed.items() if found is None)
        raise SchemaError(
            "the JSON Schema mixes lists of objects (frames) with other properties (slots: "
            f"{others}); put the slots into an object of their own"
        )
    return frames


def _frame(content: Mapping[str, Any], name: str, root: Mapping[str, Any]) -> dict[str, Any]:
    title = content.get("title") or name
    return {
        "name": title,
        "description": content.get("description"),
        "slots": [
            {"name": slot, "description": _slot_description(slot, one, title, root)}
            for slot, one in _properties(content, show(title)).items()
        ],
    }


def _slot_description(slot: str, content: Any, frame: str, root: Mapping[str, Any]) -> Any:
    for option in _options(content, root):
        inner = _resolved(option.get("items", option), root)
        if "properties" in inner:
            raise SchemaError(
                f"the property {show(slot)} of {show(frame)} is an object itself; slots hold "
                "text, so put its properties into the frame, or make it a list at the top level"
            )
    # Beside a reference, or behind it.
    return content.get("description") or _resolved(content, root).get("description")


def _properties(content: Mapping[str, Any], owner: str) -> Mapping[str, Any]:
    properties = content.get("properties")
    if not isinstance(properties, Mapping) or not properties:
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


def _options(content: Any, root: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A schema, or each of its alternatives: pydantic writes `X | None` as `anyOf`."""
    found = _resolved(content, root)
    yield found
    for key in _ALTERNATIVES:
        alternatives = found.get(key)
        if isinstance(alternatives, Sequence) and not isinstance(alternatives, str):
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
