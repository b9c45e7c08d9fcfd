"""Files of texts: every form is read, every bad line has its number and reason."""

import io
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ucuie.batch.question import Question
from ucuie.batch.rows import Columns, Row, Text
from ucuie.batch.texts import Texts, read_documents, read_texts
from ucuie.errors import DataError, MissingExtraError, TextError, UserError
from ucuie.extract.query import Query
from ucuie.extract.result import Extraction
from ucuie.schema import Schema

COLUMNS = Columns()


def write(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


def parquet_file(path: Path, columns: dict[str, list[Any]]) -> Path:
    arrow = pytest.importorskip("pyarrow", reason="the extra tables is not installed")
    from pyarrow import parquet

    parquet.write_table(arrow.table(columns), path)
    return path


class ReadsEverything:
    """Stands in for an extractor that no text is too long for."""

    identity = "stand-in"

    def faults(self, queries: Iterable[Query]) -> dict[int, UserError]:
        return {}

    def answer(self, queries: Iterable[Query]) -> Iterator[Extraction]:
        raise NotImplementedError


def texts(path: Path, columns: Columns = COLUMNS) -> list[Text]:
    return [row.read(columns) for row in read_texts(path, columns).rows]


def reason(row: Row) -> str:
    with pytest.raises(TextError) as caught:
        row.read(COLUMNS)
    return str(caught.value)


def rejected(file: Texts, path: Path) -> list[dict[str, Any]]:
    """What is listed of those rows that cannot be used."""
    question = Question(Schema.of(["person"]), "NER")
    with pytest.raises(DataError, match="nothing was written"):
        file.queries(question, ReadsEverything())
    assert not path.exists()
    file.queries(question, ReadsEverything(), rejected=path)
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_json_lines_have_ids_of_their_own_or_their_number(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        '{"id": "x", "text": "one"}\n\n{"text": "t\\u2028wo", "more": 1}\r\n{"id": 7, "text": "3"}',
    )
    assert [row.number for row in read_texts(path, COLUMNS).rows] == [1, 3, 4]
    assert texts(path) == [Text("x", "one"), Text("3", "t\u2028wo"), Text("7", "3")]


def test_plain_text_is_a_text_a_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "\ufeffone\n\n{two\u2028\n\u00a0\n")
    assert texts(path) == [Text("1", "one"), Text("3", "{two\u2028")]


@pytest.mark.parametrize(
    ("line", "said"),
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
def test_a_bad_line_says_why(tmp_path: Path, line: str, said: str) -> None:
    (bad,) = read_texts(write(tmp_path / "a.jsonl", line), COLUMNS).rows
    assert said in reason(bad)


@pytest.mark.parametrize(("content", "is_plain"), [('\n{"text": "one"}\n', False), ("one\n", True)])
def test_standard_input_is_told_by_its_first_line(
    monkeypatch: pytest.MonkeyPatch, content: str, is_plain: bool
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    file = read_texts(Path("-"), COLUMNS)
    assert file.name == "standard input"
    assert [row.read(COLUMNS).text for row in file.rows] == ["one"]


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_texts(tmp_path / "none.jsonl", COLUMNS)
    with pytest.raises(DataError, match="there is no text in it"):
        read_texts(write(tmp_path / "empty.jsonl", " \n"), COLUMNS)
    (tmp_path / "latin.txt").write_bytes("one\ncaf\xe9".encode("latin-1"))
    with pytest.raises(
        DataError, match=r"1 fault in latin\.txt\n  byte 7   not UTF-8\n  save the file as UTF-8"
    ):
        read_texts(tmp_path / "latin.txt", COLUMNS)


def test_rejected_lines_can_be_repaired(tmp_path: Path) -> None:
    file = read_texts(write(tmp_path / "a.jsonl", '{"text": "good"}\n\n{bäd\n'), COLUMNS)
    reason = "not JSON: Expecting property name enclosed in double quotes"
    assert rejected(file, tmp_path / "r.jsonl") == [{"line": 3, "reason": reason, "raw": "{bäd"}]


def test_a_document_is_the_whole_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "\ufeffone\r\n\ntwo\n")
    (row,) = read_documents(path).rows
    assert row.read(COLUMNS) == Text("a.txt", "one\r\n\ntwo\n")


def test_a_folder_is_a_document_for_each_file(tmp_path: Path) -> None:
    write(tmp_path / "b.txt", "two")
    write(tmp_path / "notes.md", "no document")
    (tmp_path / "a").mkdir()
    write(tmp_path / "a" / "x.txt", "one")
    (tmp_path / "c.txt").write_bytes(b"\xff")
    file = read_documents(tmp_path)
    assert file.description == f"the 3 files of {tmp_path}"
    assert [row.read(COLUMNS) for row in file.rows[:2]] == [Text("a/x.txt", "one"), Text("b.txt", "two")]
    listed = rejected(file, tmp_path / "rejected.jsonl")
    assert listed == [{"file": "c.txt", "reason": "byte 0   not UTF-8"}]


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
    assert texts(write(tmp_path / f"a{suffix}", table)) == [
        Text("a", f"two\nlines{separator} one text"),
        Text("3", "äöü"),
        Text("4", 'a "b" c'),
    ]


def test_parquet_has_a_text_in_each_row(tmp_path: Path) -> None:
    cells = {"id": ["x", None, "x"], "more": [1, 2, 3], "text": ["one", "t\nwo", "one"]}
    path = parquet_file(tmp_path / "a.parquet", cells)
    assert texts(path) == [Text("x", "one"), Text("2", "t\nwo"), Text("x", "one")]


def test_columns_and_keys_can_have_other_names(tmp_path: Path) -> None:
    cells = {"note": [7, 8], "body": ["one", "two"]}
    paths = [
        write(tmp_path / "a.jsonl", '{"note": 7, "body": "one"}\n{"note": 8, "body": "two"}'),
        write(tmp_path / "a.csv", "note,body\n7,one\n8,two\n"),
        parquet_file(tmp_path / "a.parquet", cells),
    ]
    for path in paths:
        assert texts(path, Columns("body", "note")) == [Text("7", "one"), Text("8", "two")]


def test_a_bad_row_says_why_and_can_be_listed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,text\n1,good\n2,\xff\n3\n4,a,b\n")
    file = read_texts(tmp_path / "a.csv", COLUMNS)
    assert file.description == "the 4 rows of a.csv"
    assert rejected(file, tmp_path / "r.jsonl") == [
        {"row": 2, "reason": "byte 0   not UTF-8", "raw": ""},
        {"row": 3, "reason": "'text' is empty", "raw": ""},
        {"row": 4, "reason": "the row has 3 cells, the first line names 2 columns", "raw": ""},
    ]


def test_cells_of_parquet_that_are_no_texts_are_bad_rows(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "a.parquet", {"text": ["good", None]})
    assert reason(read_texts(path, COLUMNS).rows[1]) == "'text' is empty"
    path = parquet_file(tmp_path / "a.parquet", {"text": [1, 2]})
    assert [reason(row) for row in read_texts(path, COLUMNS).rows] == [
        "'text' is not a string: 1",
        "'text' is not a string: 2",
    ]


def test_a_table_without_the_column_is_refused_with_those_it_has(tmp_path: Path) -> None:
    said = r"1 fault in a\.\w+\n  no column 'text' \(choices: 'body', 'n'\)\n  --text-column"
    with pytest.raises(DataError, match=said):
        read_texts(write(tmp_path / "a.csv", "body,n\nx,1\ny,2\n"), COLUMNS)
    with pytest.raises(DataError, match=said):
        read_texts(parquet_file(tmp_path / "a.parquet", {"body": ["x", "y"], "n": [1, 2]}), COLUMNS)


def test_a_table_that_is_broken_or_empty_is_refused(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "a.parquet", {"text": [f"text {n}" for n in range(1_000)]})
    whole = path.read_bytes()
    damaged = whole[:4] + bytes(200) + whole[204:]
    for content in (b"", b"PAR1 nonsense", b'{"text": "JSON"}\n', whole[: len(whole) // 2], damaged):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"in a\.parquet\n  the file cannot be read from row 1 on: .* "):
            read_texts(path, COLUMNS)
    with pytest.raises(DataError, match="there is no text in it"):
        read_texts(parquet_file(path, {"text": []}), COLUMNS)
    for content in ("", "text,id\n"):
        with pytest.raises(DataError, match="there is no text in it"):
            read_texts(write(tmp_path / "a.csv", content), COLUMNS)
    with pytest.raises(DataError, match="No such file"):
        read_texts(tmp_path / "none.parquet", COLUMNS)
    with pytest.raises(DataError, match="each row of a table is a document already"):
        read_documents(path)


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    path = write(tmp_path / "a.parquet", "")
    with pytest.raises(MissingExtraError, match=r"pip install 'ucuie\[tables\]'"):
        read_texts(path, COLUMNS)
