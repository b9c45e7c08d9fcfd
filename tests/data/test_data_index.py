import json
import pickle
from pathlib import Path

import pytest
from data_cases import example
from hypothesis import given
from hypothesis import strategies as st

from ucuie.data import write_examples
from ucuie.data.examples import index_file, parse_again
from ucuie.errors import DataError
from ucuie.schema import Example

EXAMPLES = [
    example("Ann ran home", ("run", "ran", {"agent": "Ann", "goal": None})),
    example('"schema":{},"records":[] Åsa\u2028', id="2", split="validation"),
    example("x", id="3", split="test"),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_examples(tmp_path / "some.jsonl", EXAMPLES)
    return tmp_path / "some.jsonl"


def test_an_indexed_file_gives_every_example_whatever_lies_between(file: Path) -> None:
    lines = file.read_bytes().split(b"\n")
    file.write_bytes(b"\xef\xbb\xbf" + b"\r\n \n\n".join(lines))
    index = index_file(file)
    assert [index[number] for number in range(len(index))] == EXAMPLES
    assert index.numbers_of("validation").tolist() == [1]
    assert pickle.loads(pickle.dumps(index))[2] == EXAMPLES[2]


def test_all_bad_lines_are_named_at_once(file: Path) -> None:
    file.write_bytes(b'{"id": 1}\n' + file.read_bytes() + b"not json\n\xff\n")
    with pytest.raises(DataError) as caught:
        index_file(file)
    assert [fault.split("   ")[0] for fault in caught.value.faults] == [
        f"some.jsonl line {number}" for number in (1, 5, 6)
    ]


def test_a_file_that_changed_meanwhile_is_no_wrong_example(file: Path) -> None:
    index = index_file(file)
    file.write_bytes(b"\n" + file.read_bytes())
    with pytest.raises(DataError, match="changed while it was in use"):
        index[1]


def test_a_compressed_file_is_refused(file: Path) -> None:
    with pytest.raises(DataError, match="unpack it"):
        index_file(file.rename(file.with_name("some.jsonl.xz")))


@given(st.sampled_from(EXAMPLES), st.permutations(["task", "schema", "records", "id", "text"]), st.booleans())
def test_reading_again_is_reading(source: Example, order: list[str], has_blanks: bool) -> None:
    plain = json.loads(source.to_json())
    fields = {name: plain[name] for name in order}
    separators = (", ", ": ") if has_blanks else (",", ":")
    for line in (source.to_json(), json.dumps(fields, separators=separators)):
        assert parse_again(line.encode()) == Example.from_json(line)
