from pathlib import Path

import pytest
from data_cases import example

from ucuie.data import Fault, read_examples, scan_examples, write_examples
from ucuie.errors import DataError

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
