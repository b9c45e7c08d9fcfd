"""Schemas made from what people have, and the commands that make, check and show them."""

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from typer.testing import CliRunner, Result

from ucuie.cli import app
from ucuie.errors import DataError, SchemaError
from ucuie.schema import Schema
from ucuie.schema.drafting import class_named, schema_of_names
from ucuie.schema.sources import ready_schemas

SAMPLE = Path(__file__).parents[2] / "examples" / "sample"
MODULE = """
from pydantic import BaseModel

class Works(BaseModel):
    person: str
    company: str

NUMBER = 1
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    return tmp_path


def ucuie(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["schema", *map(str, arguments)])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("person", ["person"]),
        ("person, city,company,", ["person", "city", "company"]),
        ("work for (a, b), live in(a)", {"work for": ["a", "b"], "live in": ["a"]}),
        ("home and garden, sandal ()", ["home and garden", "sandal"]),
    ],
)
def test_names_stand_between_commas(names: str, expected: object) -> None:
    assert schema_of_names(names) == Schema.of(expected)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("", "no frames"),
        (" , ,", "no frames"),
        ("person (a", "is no name with perhaps slots"),
        ("(a, b)", "is no name with perhaps slots"),
        ("person, person", "lists frame 'person' twice"),
        ("meet (a, a)", "lists slot 'a' twice"),
    ],
)
def test_lists_without_usable_names_are_refused(names: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        schema_of_names(names)


@given(st.text(st.sampled_from("ab ,()&\nd.") | st.characters(), max_size=30))
def test_any_text_is_a_schema_or_a_schema_error(names: str) -> None:
    with suppress(SchemaError):
        assert schema_of_names(names).frames


def test_a_class_is_found_by_its_file_or_module(folder: Path) -> None:
    (folder / "models_of_mine.py").write_text(MODULE)
    by_file, by_module = class_named("models_of_mine.py:Works"), class_named("models_of_mine:Works")
    assert by_file is by_module
    assert issubclass(by_file, BaseModel)
    assert Schema.of(by_file) == Schema.of({"Works": ["person", "company"]})


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("Works", "is no address of a class"),
        ("no_such_module:Works", "cannot be imported: ModuleNotFoundError"),
        ("broken_models.py:Works", "cannot be imported: ZeroDivisionError"),
        ("other_models.py:Work", "has no class 'Work'; did you mean 'Works'"),
        ("other_models.py:NUMBER", "is no pydantic model class"),
    ],
)
def test_what_is_no_class_is_named(address: str, message: str, folder: Path) -> None:
    (folder / "other_models.py").write_text(MODULE)
    (folder / "broken_models.py").write_text("1 / 0")
    with pytest.raises(SchemaError, match=message):
        class_named(address)


def test_init_writes_yaml_that_reads_back(folder: Path) -> None:
    result = ucuie("init", "person, city, work for (person, company)")
    assert Schema.from_yaml(result.stdout) == schema_of_names("person, city, work for (person, company)")
    (folder / "schema.json").write_text('{"type": "object", "title": "meet", "properties": {"who": {}}}')
    assert ucuie("init", "--json-schema", "schema.json").stdout == "meet: [who]\n"
    (folder / "yet_other_models.py").write_text(MODULE)
    assert ucuie("init", "--class", "yet_other_models:Works").stdout == "Works: [person, company]\n"


def test_init_from_data_has_every_label_the_most_frequent_first(folder: Path) -> None:
    lines = [json.loads(line) for line in (SAMPLE / "train.jsonl").read_text().splitlines()]
    result = ucuie("init", "--data", SAMPLE / "train.jsonl", "-o", "my.yaml")
    assert result.exit_code == 0
    assert f"{len(lines)} examples" in result.stderr
    schema = Schema.of(folder / "my.yaml")
    assert set(schema.frame_names) == {frame["name"] for line in lines for frame in line["schema"]["frames"]}
    counts = [
        sum(r["frame"] == name for line in lines for r in line["records"]) for name in schema.frame_names
    ]
    assert counts == sorted(counts, reverse=True)


def test_init_reads_the_formats_of_annotation_tools(folder: Path) -> None:
    item = {"text": "Ada lives in Rome.", "label": [[0, 3, "PER"], [13, 17, "LOC"]]}
    (folder / "notes.jsonl").write_text(json.dumps(item))
    result = ucuie("init", "--data", "notes.jsonl", "--format", "doccano")
    assert set(Schema.from_yaml(result.stdout).frame_names) == {"PER", "LOC"}
    assert "write out 'person'" in result.stderr


def test_init_overwrites_nothing(folder: Path) -> None:
    (folder / "my.yaml").write_text("[mine]")
    result = ucuie("init", "person", "-o", "my.yaml")
    assert (result.exit_code, (folder / "my.yaml").read_text()) == (2, "[mine]")


@pytest.mark.parametrize(
    "arguments",
    [[], ["a", "--json-schema", "x"], ["--data", "x.jsonl"], ["--json-schema", "x.json"]],
)
def test_init_refuses_what_it_cannot_use(arguments: list[str]) -> None:
    result = ucuie("init", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_check_says_how_a_schema_is_read_and_what_to_improve(folder: Path) -> None:
    (folder / "my.yaml").write_text("- person\n- Person\n")
    lines = ucuie("check", "my.yaml").stdout.splitlines()
    assert lines[0] == "2 types, read as entities (NER)"
    assert re.match(r"  line 2    the types 'person' and 'Person'", lines[1])
    plain = json.loads(ucuie("check", "my.yaml", "--json").stdout)
    assert plain["advice"][0]["line"] == 2
    assert ucuie("check", "news").stdout.endswith("nothing to improve\n")


def test_check_refuses_what_is_no_schema(folder: Path) -> None:
    (folder / "my.yaml").write_text("a: [b, b]")
    result = ucuie("check", "my.yaml")
    assert result.exit_code == 2
    assert "lists slot 'b' twice" in result.stderr
    assert "(my.yaml, line 1)" in result.stderr


def test_ready_schemas_are_listed_and_shown() -> None:
    listed = ucuie("list").stdout
    assert all(name in listed for name in ready_schemas())
    assert set(json.loads(ucuie("list", "--json").stdout)) == set(ready_schemas())
    assert Schema.from_yaml(ucuie("show", "contracts").stdout) == Schema.of("contracts")
    assert "did you mean 'news'" in ucuie("show", "newz").stderr


def test_data_without_examples_has_no_schema() -> None:
    from ucuie.data.statistics import schema_of_examples

    with pytest.raises(DataError, match="no annotated text"):
        schema_of_examples([], "nothing.jsonl")
