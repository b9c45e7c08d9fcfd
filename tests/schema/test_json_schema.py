"""A JSON Schema is read as the pydantic class that it may come from."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel, create_model

from ucuie.errors import SchemaError
from ucuie.schema import Schema


class Employment(BaseModel):
    """A person has a job."""

    person: str
    company: str | None = Field(default=None, description="the employer")
    titles: list[str] = []


class Home(BaseModel):
    person: str
    place: str = Field(alias="in")


class Facts(BaseModel):
    jobs: list[Employment]
    homes: list[Home] | None = None


class Jobs(BaseModel):
    jobs: list[Employment]


class Empty(BaseModel):
    pass


class Node(BaseModel):
    name: str
    next: "Node | None" = None


class Listed(RootModel[list[Employment]]):
    pass


FIELDS: list[dict[str, Any]] = [
    {"jobs": list[Employment] | None},
    {"jobs": tuple[Employment, ...], "homes": set[Home]},
    {"jobs": list[Employment], "homes": list[Home] | None},
    {"first": list[Home], "second": list[Home]},
    {"kinds": list[Empty]},
    {"names": set[str], "more": dict[str, Any], "anything": object},
]
OBJECTS: list[Any] = [
    Home,
    Home | None,
    dict[str, Home],
    list[list[Home]],
    list[Home | Employment],
    tuple[Home, Employment],
    list[dict[str, Home]],
    Empty,
]


@pytest.mark.parametrize(
    "model",
    [Employment, Home, Jobs, Facts, Empty, Listed, *(create_model("Made", **fields) for fields in FIELDS)],
)
def test_a_class_and_its_json_schema_are_the_same_schema(model: type[BaseModel], tmp_path: Path) -> None:
    plain = model.model_json_schema()
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(plain))
    assert Schema.of(plain) == Schema.of(path) == Schema.of(json.dumps(plain)) == Schema.of(model)
    assert Schema.of([model]) == Schema.of(model)


@pytest.mark.parametrize("kind", OBJECTS)
def test_objects_in_slots_are_refused_in_a_class_as_in_its_json_schema(kind: Any) -> None:
    model = create_model("Made", of=kind, other=str)
    for source in (model, model.model_json_schema()):
        with pytest.raises(SchemaError, match="'of' of 'Made' is an object itself, or holds some"):
            Schema.of(source)
    with pytest.raises(SchemaError, match="'next' of 'Node'"):
        Schema.of(Node)


def test_a_class_may_have_fields_that_json_cannot_hold() -> None:
    assert Schema.of(create_model("Made", call=Callable[[], None], name=(str, object()))).frame_names == (
        "Made",
    )


def test_a_class_that_is_not_finished_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"class Made cannot be read: .*not fully defined"):
        Schema.of(create_model("Made", other="Missing"))


def test_lists_that_may_be_absent_are_frames_too() -> None:
    assert Schema.of(Facts).frame_names == ("Employment", "Home")


def test_two_lists_of_one_class_are_named_after_their_properties() -> None:
    schema = Schema.of(create_model("Deal", buyers=list[Home], sellers=list[Home], jobs=list[Employment]))
    assert schema.frame_names == ("buyers", "sellers", "Employment")
    assert schema["buyers"].slots == schema["sellers"].slots == Schema.of(Home).frames[0].slots


PERSON = {"title": "Person", "type": "object", "properties": {"name": {"type": "string"}}}


@pytest.mark.parametrize(
    "source",
    [
        {"title": "Person", "properties": {"name": {"type": "string"}}},
        {"$ref": "#/$defs/Person", "$defs": {"Person": PERSON}},
        {"type": "array", "items": PERSON},
    ],
)
def test_json_schemas_are_known_by_more_than_their_type(source: dict[str, Any]) -> None:
    assert Schema.of(source) == Schema.of(json.dumps(source)) == Schema.of({"Person": ["name"]})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"anyOf": [PERSON, {"type": "null"}]}, "the JSON Schema describes no object with properties"),
        ({"type": "array", "items": {"type": "string"}}, "describes no object with properties"),
        ({"name": "x", "schema": PERSON, "strict": True}, "give what stands under 'schema' alone"),
        ({"type": "json_schema", "json_schema": {"schema": PERSON}}, "under 'json_schema' alone"),
        ({"type": "function", "function": {"parameters": PERSON}}, "under 'function' alone"),
        ({"name": "x", "input_schema": PERSON}, "under 'input_schema' alone"),
    ],
)
def test_what_looks_like_a_json_schema_is_told_so(source: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        Schema.of(source)


def test_deep_json_schemas_are_refused() -> None:
    source: dict[str, Any] = PERSON
    for _ in range(5000):
        source = {"schema": source}
    with pytest.raises(SchemaError, match="nested too deeply"):
        Schema.of(source)


def test_a_list_of_unnamed_objects_is_named_after_its_property() -> None:
    item = {"type": "object", "properties": {"who": {"type": "string"}}}
    source = {"type": "object", "properties": {"attack": {"type": "array", "items": item}}}
    assert Schema.of(source) == Schema.of({"attack": ["who"]})


def test_frames_that_are_called_like_keys_of_json_schema_stay_frames() -> None:
    assert Schema.of({"type": ["a"], "properties": ["b"]}).frame_names == ("type", "properties")
    assert Schema.of({"properties": {"a": "what it is"}}).frame_names == ("properties",)


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({}, "no object with properties"),
        ({"a": "string"}, "the property 'a' of the JSON Schema is 'string'"),
        ({"a": {"$ref": "#/$defs/Missing"}}, "'#/\\$defs/Missing' leads to nothing"),
        ({"a": {"$ref": "other.json"}}, "'other.json' leads out of the JSON Schema"),
        ({"a": {"$ref": "#/properties/a"}}, "leads back to itself"),
        ({"a": {"properties": {"b": {}}}}, "'a' of 'record' is an object itself"),
        (
            {"a": {}, "b": {"type": "array", "items": {"properties": {"c": {}}}}},
            r"mixes lists of objects \(frames\) with other properties \(slots: 'a'\)",
        ),
    ],
)
def test_what_cannot_be_frames_is_named(properties: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        Schema.of({"type": "object", "properties": properties})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["object", "#", "#/properties/a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["properties", "items", "anyOf", "$ref", "title", "description", "a"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), json_values, max_size=3))
def test_any_json_schema_is_a_schema_or_a_schema_error(properties: dict[str, Any]) -> None:
    with suppress(SchemaError):
        assert Schema.of({"$schema": "x", "type": "object", "properties": properties}).frames
