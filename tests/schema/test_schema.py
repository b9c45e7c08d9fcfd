import json
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from timing import process_seconds
from ucuie.errors import DataError, MissingExtraError, SchemaError, did_you_mean, show
from ucuie.schema import (
    CAPABILITIES,
    TASKS,
    Example,
    FilledSlot,
    Filler,
    Frame,
    Record,
    Schema,
    Slot,
    Task,
    record_faults,
)
from ucuie.schema.sources import _unique_keys

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(str.strip)


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    def slots() -> list[Slot]:
        names = draw(st.lists(NAMES, max_size=3, unique_by=str.strip))
        described = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
        return [Slot(name=name, description=draw(described), required=draw(st.booleans())) for name in names]

    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique_by=str.strip))
    return Schema(frames=[Frame(name=name, slots=slots()) for name in names])


@settings(max_examples=200, deadline=None)
@given(schemas())
def test_a_schema_survives_json_and_pickling(schema: Schema) -> None:
    assert Schema.of(schema.model_dump_json()) == schema
    assert Schema.of(schema.model_dump()) == schema
    assert pickle.loads(pickle.dumps(schema)) == schema
    assert hash(Schema.of(schema.model_dump_json())) == hash(schema)


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    )
)
def test_any_value_is_a_schema_or_a_schema_error(source: Any) -> None:
    for form in (source, json.dumps(source)):
        with suppress(SchemaError):
            assert Schema.of(form).frames


class Speech(BaseModel):
    """Somebody speaks."""

    speaker: str = Field(description="who speaks")
    place: str | None = None


class Speeches(BaseModel):
    speeches: list[Speech]


class Mixed(BaseModel):
    speeches: list[Speech]
    other: str


SPEECH = {
    "name": "Speech",
    "description": "Somebody speaks.",
    "slots": [{"name": "speaker", "description": "who speaks"}, {"name": "place"}],
}


@pytest.mark.parametrize(
    "source",
    [
        {"frames": [SPEECH]},
        [SPEECH],
        {"Speech": {key: SPEECH[key] for key in ("description", "slots")}},
        {"Speech": {"description": "Somebody speaks.", "slots": {"speaker": "who speaks", "place": None}}},
        Speech,
        Speeches,
        [Speech],
        json.dumps({"frames": [SPEECH]}),
    ],
)
def test_every_form_reads_as_the_same_schema(source: Any) -> None:
    assert Schema.of(source) == Schema.of({"frames": [SPEECH]})


def test_short_forms() -> None:
    assert Schema.of(["person", "city"]).frame_names == ("person", "city")
    schema = Schema.of({"works for": ["person", "company"], "person": [], "place": "a location", "x": None})
    assert schema["works for"].slot_names == ("person", "company")
    assert schema["place"] == Frame(name="place", description="a location")
    assert schema["x"].slots == ()
    assert Schema.of({"a": {"b": {"required": True}}})["a"].slots == (Slot(name="b", required=True),)
    assert Schema.of(schema) is schema


def test_files_are_read_as_they_stand(tmp_path: Path) -> None:
    yaml = tmp_path / "schema.yaml"
    yaml.write_text("no:\n  - yes\n  - 1.50\n2020-01-01:\n  off: on\n")
    schema = Schema.of(str(yaml))
    assert schema.frame_names == ("no", "2020-01-01")
    assert schema["no"].slot_names == ("yes", "1.50")
    assert schema["2020-01-01"].slots == (Slot(name="off", description="on"),)
    # A name from a file is an ordinary string: it pickles and compares like one.
    assert all(type(name) is str for name in schema.frame_names)
    with_mark = tmp_path / "schema.json"
    with_mark.write_text('["person"]', encoding="utf-8-sig")
    assert Schema.of(with_mark).frame_names == ("person",)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("- a\n- b\n- a\n", 3, "lists frame 'a' twice"),
        ("works for:\n  - person\n  - person\n", 3, "lists slot 'person' twice"),
        ("a: [b\n", 2, "expected ',' or ']'"),
        ("a:\n  x: 1\n  x: 2\n", 3, "'x' stands twice"),
        ("a:\n\t- b", 2, "cannot start any token"),
        ("frames:\n- name: a\n  slots:\n  - name: x\n    bad: 1\n", 5, "the key 'bad' is not known"),
        ("a:\n  b: {required: perhaps}\n", 2, "got 'perhaps'"),
        ("? [a]\n: b\n", 1, "not a name"),
        ("- !!python/object/apply:os.getcwd []\n", 1, "could not determine a constructor"),
    ],
)
def test_a_fault_in_a_file_has_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = tmp_path / "schema.yaml"
    path.write_text(text)
    with pytest.raises(SchemaError) as caught:
        Schema.of(path)
    assert message in str(caught.value)
    assert f"{path}, line {line})" in str(caught.value)
    assert str(caught.value).count(str(path)) == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "no frames"),
        ({}, "no frames"),
        (None, "None is not a schema"),
        (7, "7 is not a schema"),
        (["a", " a "], "lists frame 'a' twice"),
        ([" "], "a name is empty"),
        (["\ud800"], "lone surrogate"),
        (["{a} {b}", "{a} {b}"], "'{a} {b}' twice"),
        ([1], "frames.0.name: Input should be a valid string, got 1"),
        ({"frames": [{"slots": ["a"]}]}, "the key 'name' is missing"),
        ({"a": 1}, "1 is not a list of slots"),
        (Mixed, "class Mixed mixes"),
        ('{"a": ["b"], "a": []}', "'a' stands twice"),
        ('{"a": ', "line 1, column 7"),
        ("[" * 100_000, "nested too deeply"),
        ("missing.yaml", "there is no file 'missing.yaml'"),
        ("a\0b", "cannot be read: embedded null byte"),
        ("\ud800", "cannot be read"),
        ("/", "cannot be read: Is a directory"),
        ("x" * 5000, "cannot be read: File name too long"),
    ],
)
def test_what_is_no_schema_is_named(source: Any, message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        Schema.of(source)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


def test_an_object_of_very_many_keys_is_read_in_linear_time() -> None:
    names = {f"name {number}": [] for number in range(50_000)}
    assert process_seconds(lambda: _unique_keys(list(names.items()))) < 1
    with pytest.raises(SchemaError, match="'name 7' stands twice"):
        _unique_keys([*names.items(), ("name 7", [])])


def test_all_faults_come_at_once() -> None:
    with pytest.raises(SchemaError) as caught:
        Schema.of(
            {"frames": [{"name": 1}, {"name": "a", "slots": ["x", "x"]}, {"name": "b", "colour": "red"}]}
        )
    first, second, third = str(caught.value).splitlines()
    assert "got 1" in first
    assert "slot 'x' twice" in second
    assert "frames.2: the key 'colour'" in third


def test_a_frame_is_found_by_name_and_an_unknown_one_names_the_nearest() -> None:
    schema = Schema.of({"Speech": ["Speaker"], "Attack": []})
    assert "Speech" in schema
    assert "Speaker" not in schema
    with pytest.raises(KeyError, match="did you mean 'Attack'"):
        schema["Atack"]


@pytest.mark.parametrize(
    ("source", "task"),
    [
        (["person"], "NER"),
        ({"lives in": ["subject", "object"]}, "RE"),
        ({"Attack": ["Attacker", "Victim", "Place"], "Die": ["Victim"]}, "EE"),
        ({"positive": ["aspect", "opinion"], "negative": ["Opinion", "Aspect"]}, "ABSA"),
        ({"person": [], "lives in": ["subject", "object"]}, "EE"),
    ],
)
def test_the_shape_of_a_schema_tells_its_task(source: list[str] | dict[str, list[str]], task: Task) -> None:
    assert Schema.of(source).task == task


PERSON = Schema.of({"person": ["title"]})


def example(**changes: Any) -> Example:
    fields = {"id": "1", "task": "NER", "text": "Dr Ann", "schema": PERSON} | changes
    return Example(**fields)


def ann(start: int = 3, frame: str = "person", slot: str = "title") -> Record:
    slots = [FilledSlot(slot=slot, filler=Filler(text="Dr", start=0, end=2))]
    return Record(frame=frame, filler=Filler(text="Ann", start=start, end=start + 3), slots=slots)


def test_an_example_survives_its_json_line() -> None:
    whole = example(records=[ann()], elements=[ann(frame="element", slot="any")])
    line = whole.to_json()
    assert Example.from_json(line) == whole
    assert "\n" not in line
    # What says nothing is not written.
    assert "null" not in line
    assert "description" not in line
    assert "elements" not in example().to_json()


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"records": [ann(start=0)]}, ["span 0:3 says 'Ann', the text there is 'Dr '"]),
        ({"records": [ann(frame="persn")]}, ["frame 'persn' is not in the schema; did you mean 'person'?"]),
        ({"records": [ann(slot="titel")]}, ["slot 'titel' is not in frame 'person'; did you mean 'title'?"]),
        ({"records": [ann(start=1, slot="x"), ann(start=0)]}, ["span 1:4", "slot 'x'", "span 0:3"]),
        ({"elements": [ann(start=0, frame="any")]}, ["span 0:3 says 'Ann'"]),
        ({"text": " "}, ["the text is empty"]),
        ({"text": "\ud800"}, ["lone surrogate"]),
        ({"task": "unknown"}, ["task"]),
        ({"unknown": 1}, ["unknown"]),
    ],
)
def test_an_example_names_all_that_contradicts_its_text_or_schema(
    changes: dict[str, Any], faults: list[str]
) -> None:
    with pytest.raises(ValidationError) as caught:
        example(**changes)
    for fault in faults:
        assert fault in str(caught.value)


def test_a_filler_has_a_place_and_text() -> None:
    with pytest.raises(ValidationError, match="empty or reversed"):
        Filler(text="a", start=1, end=1)
    with pytest.raises(ValidationError, match="at least 1 character"):
        Filler(text="", start=0, end=1)
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        Filler(text="a", start=-1, end=0)
    assert Filler(text="ab", start=3, end=5).span == (3, 5)


def test_a_record_lists_its_fillers() -> None:
    assert [filler.text for filler in ann().fillers()] == ["Ann", "Dr"]
    assert list(Record(frame="person", slots=[FilledSlot(slot="title")]).fillers()) == []
    assert record_faults([ann()], "Dr Ann", PERSON) == []


def test_tasks_and_capabilities_are_the_papers() -> None:
    assert TASKS == ("NER", "RE", "EE", "ABSA")
    assert CAPABILITIES == ("judging", "locating", "associating")


def test_errors_survive_pickling_and_list_their_faults() -> None:
    missing = pickle.loads(pickle.dumps(MissingExtraError("fastapi", "serve")))
    assert str(missing) == "fastapi is not installed; get it with: pip install 'ucuie[serve]'"
    many = pickle.loads(pickle.dumps(DataError("train.jsonl", [f"line {n}" for n in range(1234)], "fix it")))
    lines = str(many).splitlines()
    assert lines[0] == "1,234 faults in train.jsonl"
    assert lines[-2:] == ["  ... and 1,214 more", "  fix it"]
    assert str(DataError("x", ["y"])) == "1 fault in x\n  y"


def test_values_in_messages_are_cut_and_choices_named() -> None:
    assert show("a" * 100) == "'" + "a" * 76 + "..."
    assert len(show("a" * 100)) == 80
    assert (
        did_you_mean("persn", ["person", "place"]) == "; did you mean 'person'? (choices: 'person', 'place')"
    )
    assert did_you_mean("x", []) == ""
    assert did_you_mean("x", [str(n) for n in range(30)]).endswith("'19', ...)")
