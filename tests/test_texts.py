"""Files of texts: every form is read, every bad line has its number and reason."""

import io
import json
from pathlib import Path

import pytest

from ucuie.errors import DataError
from ucuie.texts import BadLine, Line, read_documents, read_texts, write_rejected


def write(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


def test_json_lines_have_ids_of_their_own_or_their_number(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        '{"id": "x", "text": "one"}\n\n{"text": "t\\u2028wo", "more": 1}\r\n{"id": 7, "text": "3"}',
    )
    lines = [line for line in read_texts(path).lines if isinstance(line, Line)]
    assert [(line.number, line.id) for line in lines] == [(1, "x"), (3, "3"), (4, "7")]
    assert [line.text for line in lines] == ["one", "t\u2028wo", "3"]


def test_plain_text_is_a_text_a_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "\ufeffone\n\n{two\u2028\n")
    assert [line.raw for line in read_texts(path).lines] == ["one", "{two\u2028"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nope", "not JSON"),
        ("[1]", "not an object"),
        ("{}", '"text" is missing'),
        ('{"txt": "a"}', "did you mean 'txt'"),
        ('{"text": 5}', "not a string: 5"),
        ('{"text": "a", "id": true}', '"id" is neither'),
        ('{"text": "a", "id": null}', '"id" is neither'),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_line_says_why(tmp_path: Path, line: str, reason: str) -> None:
    (bad,) = read_texts(write(tmp_path / "a.jsonl", line)).lines
    assert isinstance(bad, BadLine)
    assert reason in bad.reason


@pytest.mark.parametrize(("content", "is_plain"), [('\n{"text": "one"}\n', False), ("one\n", True)])
def test_standard_input_is_told_by_its_first_line(
    monkeypatch: pytest.MonkeyPatch, content: str, is_plain: bool
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    file = read_texts(Path("-"))
    assert file.name == "standard input"
    (line,) = file.lines
    assert isinstance(line, Line)
    assert line.text == "one"


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_texts(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="there is no text in it"):
        read_texts(write(tmp_path / "empty.jsonl", " \n"))
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    with pytest.raises(DataError, match="byte 3   not UTF-8"):
        read_texts(tmp_path / "latin.txt")


def test_rejected_lines_can_be_repaired(tmp_path: Path) -> None:
    write_rejected(tmp_path / "r.jsonl", [BadLine(3, "{bäd", "not JSON")])
    assert json.loads((tmp_path / "r.jsonl").read_text("utf-8")) == {
        "line": 3, "reason": "not JSON", "raw": "{bäd",
    }  # fmt: skip


def test_a_document_is_the_whole_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "\ufeffone\r\n\ntwo\n")
    (line,) = read_documents(path).lines
    assert isinstance(line, Line)
    assert (line.id, line.text) == ("a.txt", "one\r\n\ntwo\n")


def test_a_folder_is_a_document_for_each_file(tmp_path: Path) -> None:
    write(tmp_path / "b.txt", "two")
    write(tmp_path / "notes.md", "no document")
    (tmp_path / "a").mkdir()
    write(tmp_path / "a" / "x.txt", "one")
    (tmp_path / "c.txt").write_bytes(b"\xff")
    *good, bad = read_documents(tmp_path).lines
    assert [(line.id, line.text) for line in good if isinstance(line, Line)] == [
        ("a/x.txt", "one"),
        ("b.txt", "two"),
    ]
    assert isinstance(bad, BadLine)
    assert (bad.place, bad.reason) == ("c.txt", "byte 0   not UTF-8")
    write_rejected(tmp_path / "rejected.jsonl", [bad])
    rejected = json.loads((tmp_path / "rejected.jsonl").read_text())
    assert rejected == {"file": "c.txt", "reason": "byte 0   not UTF-8"}


def test_what_is_no_document_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.txt file"):
        read_documents(tmp_path)
    with pytest.raises(DataError, match="document already"):
        read_documents(write(tmp_path / "a.jsonl", "{}"))
    with pytest.raises(DataError, match="No such file"):
        read_documents(tmp_path / "none.txt")
