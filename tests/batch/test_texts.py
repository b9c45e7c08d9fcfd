"""Files of texts: every form is read, every bad line has its number and reason."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ucuie.batch.texts import BadLine, Line, read_documents, read_texts, write_rejected
from ucuie.errors import DataError, MissingExtraError


def write(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


def parquet_file(path: Path, columns: dict[str, list[Any]]) -> Path:
    arrow = pytest.importorskip("pyarrow", reason="the extra tables is not installed")
    from pyarrow import parquet

    parquet.write_table(arrow.table(columns), path)
    return path


def good(path: Path) -> list[Line]:
    return [line for line in read_texts(path).lines if isinstance(line, Line)]


def test_json_lines_have_ids_of_their_own_or_their_number(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        '{"id": "x", "text": "one"}\n\n{"text": "t\\u2028wo", "more": 1}\r\n{"id": 7, "text": "3"}',
    )
    lines = good(path)
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


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_table_has_a_text_in_each_row(tmp_path: Path, suffix: str) -> None:
    separator = "," if suffix == ".csv" else "\t"
    rows = ("\ufefftext,id,more", '"two\nlines, one text",a,x', "", "äöü,,", '"a ""b"" c"')
    table = "\r\n".join(rows).replace(",", separator)
    assert [(line.number, line.id, line.text) for line in good(write(tmp_path / f"a{suffix}", table))] == [
        (1, "a", f"two\nlines{separator} one text"),
        (3, "3", "äöü"),
        (4, "4", 'a "b" c'),
    ]


def test_parquet_has_a_text_in_each_row(tmp_path: Path) -> None:
    texts, ids = ["one", "t\nwo", "one"], ["x", None, "x"]
    path = parquet_file(tmp_path / "a.parquet", {"id": ids, "more": [1, 2, 3], "text": texts})
    assert [(line.id, line.text) for line in good(path)] == [("x", "one"), ("2", "t\nwo"), ("x", "one")]


def test_columns_and_keys_can_have_other_names(tmp_path: Path) -> None:
    cells = {"note": [7, 8], "body": ["one", "two"]}
    paths = [
        write(tmp_path / "a.jsonl", '{"note": 7, "body": "one"}\n{"note": 8, "body": "two"}'),
        write(tmp_path / "a.csv", "note,body\n7,one\n8,two\n"),
        parquet_file(tmp_path / "a.parquet", cells),
    ]
    for path in paths:
        lines = read_texts(path, text_column="body", id_column="note").lines
        assert [(line.id, line.text) for line in lines if isinstance(line, Line)] == [
            ("7", "one"),
            ("8", "two"),
        ]


def test_a_bad_row_says_why_and_can_be_listed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,text\n1,good\n2,\xff\n3\n4,a,b\n")
    file = read_texts(tmp_path / "a.csv")
    assert file.description == "the 4 rows of a.csv"
    bad = [line for line in file.lines if isinstance(line, BadLine)]
    assert [(line.place, line.reason) for line in bad] == [
        ("row 2", "byte 0   not UTF-8"),
        ("row 3", "'text' is empty"),
        ("row 4", "the row has 3 cells, the first line names 2 columns"),
    ]
    write_rejected(tmp_path / "r.jsonl", bad[:1])
    assert json.loads((tmp_path / "r.jsonl").read_text()) == {
        "row": 2, "reason": "byte 0   not UTF-8", "raw": "",
    }  # fmt: skip


def test_cells_of_parquet_that_are_no_texts_are_bad_rows(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "a.parquet", {"text": ["good", None]})
    assert [line.reason for line in read_texts(path).lines if isinstance(line, BadLine)] == [
        "'text' is empty"
    ]
    path = parquet_file(tmp_path / "a.parquet", {"text": [1, 2]})
    assert [line.reason for line in read_texts(path).lines if isinstance(line, BadLine)] == [
        "'text' is not a string: 1",
        "'text' is not a string: 2",
    ]


def test_a_table_without_the_column_is_refused_with_those_it_has(tmp_path: Path) -> None:
    said = r"1 fault in a\.\w+\n  no column 'text' \(choices: 'body', 'n'\)\n  --text-column"
    with pytest.raises(DataError, match=said):
        read_texts(write(tmp_path / "a.csv", "body,n\nx,1\ny,2\n"))
    with pytest.raises(DataError, match=said):
        read_texts(parquet_file(tmp_path / "a.parquet", {"body": ["x", "y"], "n": [1, 2]}))


def test_a_table_that_is_broken_or_empty_is_refused(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "a.parquet", {"text": [f"text {n}" for n in range(1_000)]})
    whole = path.read_bytes()
    damaged = whole[:4] + bytes(200) + whole[204:]
    for content in (b"", b"PAR1 nonsense", b'{"text": "JSON"}\n', whole[: len(whole) // 2], damaged):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"in a\.parquet\n  the file cannot be read from row 1 on: .* "):
            read_texts(path)
    with pytest.raises(DataError, match="there is no text in it"):
        read_texts(parquet_file(path, {"text": []}))
    for content in ("", "text,id\n"):
        with pytest.raises(DataError, match="there is no text in it"):
            read_texts(write(tmp_path / "a.csv", content))
    with pytest.raises(DataError, match="No such file"):
        read_texts(tmp_path / "none.parquet")
    with pytest.raises(DataError, match="each row of a table is a document already"):
        read_documents(path)


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    path = write(tmp_path / "a.parquet", "")
    with pytest.raises(MissingExtraError, match=r"pip install 'ucuie\[tables\]'"):
        read_texts(path)
