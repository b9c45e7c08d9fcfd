"""A JSON Schema is read as the pydantic class that it may come from."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

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


@pytest.mark.parametrize("model", [Employment, Home, Jobs])
def test_a_class_and_its_json_schema_are_the_same_schema(model: type[BaseModel], tmp_path: Path) -> None:
    plain = model.model_json_schema()
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(plain))
    assert Schema.of(plain) == Schema.of(path) == Schema.of(json.dumps(plain)) == Schema.of(model)


def test_lists_that_may_be_absent_are_frames_too() -> None:
    assert Schema.of(Facts.model_json_schema()).frame_names == ("Employment", "Home")


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
