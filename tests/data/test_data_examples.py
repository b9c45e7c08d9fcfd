import json
import pickle
from pathlib import Path

import pytest
from data_cases import example
from hypothesis import given
from hypothesis import strategies as st

from ucuie.data import Fault, read_examples, write_examples
from ucuie.data.examples import index_file, parse_again, scan_examples
from ucuie.errors import DataError
from ucuie.schema import Example

GOOD = example("Ann ran", ("run", "ran", {"agent": "Ann"}))


def test_examples_come_back_as_they_were_written(tmp_path: Path) -> None:
    odd = example("line\u2028separator\x85 and\nnewline", ("x", "newline", {}), id="2")
    assert write_examples(tmp_path / "a.jsonl", [GOOD, odd]) == 2
    assert list(read_examples(tmp_path / "a.jsonl")) == [GOOD, odd]
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_all_bad_lines_are_named_at_once(tmp_path: Path) -> None:
    good = GOOD.to_json()
    shifted = good.replace('"start":4', '"start":3')
    path = tmp_path / "a.jsonl"
    path.write_bytes(f'{good}\n{shifted}\n\n{{"id": 1\n{good}\n'.encode() + b'{"id": "\xff"}')
    with pytest.raises(DataError) as error:
        list(read_examples(path))
    first, second, third = error.value.faults
    assert first.startswith("a.jsonl line 2   span 3:7 says 'ran', the text there is ' ran'")
    assert second.startswith("a.jsonl line 4   Invalid JSON")
    assert third == """a.jsonl line 6   not UTF-8: byte 0xff after '{"id": "'"""
    kinds = [type(item) for item in scan_examples(path)]
    assert kinds == [type(GOOD), Fault, Fault, type(GOOD), Fault]


def test_a_folder_gives_its_splits_in_order(tmp_path: Path) -> None:
    for split in ("test", "train", "validation"):
        text = GOOD.to_json().replace('"split":"train"', f'"split":"{split}"')
        (tmp_path / f"{split}.jsonl").write_text(text)
    assert [item.split for item in read_examples(tmp_path)] == ["train", "validation", "test"]
    assert [item.split for item in read_examples(tmp_path, split="test")] == ["test"]


def test_a_path_without_data_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ucuie convert"):
        list(read_examples(tmp_path / "nowhere"))


def test_a_span_that_ends_behind_the_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(GOOD.to_json().replace('"end":7', '"end":9'))
    with pytest.raises(DataError, match="span 4:9 says 'ran'"):
        list(read_examples(tmp_path / "a.jsonl"))


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


def test_an_index_names_all_bad_lines_at_once(file: Path) -> None:
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
