"""Files of texts: every form is read, every bad line has its number and reason."""

import csv
import gzip
import io
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ucuie.batch.question import Question
from ucuie.batch.rows import Columns, Row, Text
from ucuie.batch.tables import open_table
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
        ('{"text": "a", "id": [1]}', '"id" is neither'),
        ('[{"text": "a"}]', "write each item of a list on a line of its own"),
        ("[", "the line ends there, and has to hold a whole object"),
        ('{"text": "a"', "the line ends there"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_line_says_why(tmp_path: Path, line: str, said: str) -> None:
    (bad,) = read_texts(write(tmp_path / "a.jsonl", line), COLUMNS).rows
    assert said in reason(bad)


@pytest.mark.parametrize(
    ("content", "is_plain"), [('\n{"text": "one"}\n', False), ("one\n", True), ("[1] one\n", True)]
)
def test_standard_input_is_told_by_its_first_line(
    monkeypatch: pytest.MonkeyPatch, content: str, is_plain: bool
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    file = read_texts(Path("-"), COLUMNS)
    assert file.name == "standard input"
    assert [row.read(COLUMNS).text for row in file.rows] == [content.strip() if is_plain else "one"]


def test_a_json_list_on_standard_input_is_no_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'[\n {"text": "one"}\n]\n')))
    assert "the line ends there" in reason(read_texts(Path("-"), COLUMNS).rows[0])


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


def test_an_id_is_the_same_from_any_file(tmp_path: Path) -> None:
    ids = [7.0, None, 9.5, float("nan")]
    lines = [json.dumps({"id": one, "text": "a"}) for one in ids]
    table = parquet_file(tmp_path / "a.parquet", {"id": [7.0, None, 9.5, None], "text": ["a"] * 4})
    for path in (write(tmp_path / "a.jsonl", "\n".join(lines)), table):
        assert [text.id for text in texts(path)] == ["7", "2", "9.5", "4"]
    binary = parquet_file(tmp_path / "b.parquet", {"id": ["ä1".encode(), b""], "text": [b"one", b"two"]})
    assert texts(binary) == [Text("ä1", "one"), Text("2", "two")]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_between_tabs_a_quote_that_does_not_close_its_cell_is_a_character(
    tmp_path: Path, newline: str
) -> None:
    rows = (
        "id\ttext",
        '1\t"Bob met Cy',
        "2\tDi",
        '3\t"Ed" ran',
        '"4\t"a ""b"""',
        '5\t"two',
        'lines"',
        '6\t""',
    )
    path = write(tmp_path / "a.tsv", newline.join(rows))
    assert texts(path) == [
        Text("1", '"Bob met Cy'),
        Text("2", "Di"),
        Text("3", '"Ed" ran'),
        Text('"4', 'a "b"'),
        Text("5", f"two{newline}lines"),
        Text("6", ""),
    ]


@given(rows=st.lists(st.lists(st.text('ab" \u00e4', max_size=5), min_size=2, max_size=2), max_size=6))
@settings(max_examples=50)
def test_a_row_between_tabs_is_a_line_unless_a_cell_is_closed_in_another(rows: list[list[str]]) -> None:
    """Cells as other tools write them, without any quoting: none swallows the rows behind it."""
    content = "".join(f"{one}\t{text}\n" for one, text in [["id", "text"], *rows])
    table = open_table(io.BytesIO(content.encode()), ".tsv", "", COLUMNS)
    cells = [cell for row in rows for cell in row]
    # A cell that opens a quote and one that closes it are one cell of several lines.
    if not (any(one.startswith('"') for one in cells) and any(one.endswith('"') for one in cells)):
        assert [row.raw.decode() for row in table.rows] == [text for _, text in rows]


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")), max_size=5))
@settings(max_examples=50)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_what_csv_writers_quote_is_read_back(separator: str, texts: list[str]) -> None:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, lineterminator="\n")
    writer.writerows([["id", "text"], *([str(number), text] for number, text in enumerate(texts))])
    for suffix in (".csv", ".tsv"):
        table = open_table(io.BytesIO(file.getvalue().encode()), suffix, "", COLUMNS)
        assert [(row.id, row.raw.decode()) for row in table.rows] == [
            (str(number), text) for number, text in enumerate(texts)
        ]


def test_an_open_quote_in_csv_is_a_fault_with_its_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,text\n1,good\n2,"Bob\n3,"Di"\n4,Ed\n5,"Flo\n6,Gus\n')
    file = read_texts(path, COLUMNS)
    assert [row.fault for row in file.rows] == [
        None,
        "lines 3 to 4: not CSV: ',' expected after '\"'",
        None,
        "lines 6 to 7: a quote is left open; one within a cell is written twice",
    ]
    assert file.rows[2].read(COLUMNS) == Text("4", "Ed")


def test_a_column_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    for content in ("id,text,text\n1,a,b\n", "id,text,id\n1,a,2\n"):
        with pytest.raises(DataError, match=r"the column '(text|id)' stands twice"):
            read_texts(write(tmp_path / "a.csv", content), COLUMNS)
    assert texts(write(tmp_path / "a.csv", "text,note,note\na,b,c\n")) == [Text("1", "a")]


def test_csv_may_have_semicolons_and_blank_lines_before_its_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", '\n\r\nid;text\n1;"a;b, c"\n2;"d\n')
    rows = read_texts(path, COLUMNS).rows
    assert rows[0].read(COLUMNS) == Text("1", "a;b, c")
    assert rows[1].fault == "line 5: a quote is left open; one within a cell is written twice"
    with pytest.raises(DataError, match=r"no column 'body' \(choices: 'id', 'text'\)"):
        read_texts(path, Columns("body"))


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.jsonl", "a"])
def test_other_encodings_and_line_ends_are_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    lines = '{"text": "Ada"}\n' * 3 if name == "a.jsonl" else "text\nAda\n"
    path = tmp_path / name
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        path.write_bytes(lines.encode(encoding))
        with pytest.raises(DataError, match="it is UTF-16; save it as UTF-8"):
            read_texts(path, COLUMNS)
    path.write_bytes(lines.replace("\n", "\r").encode())
    with pytest.raises(DataError, match="its lines end in CR alone; save it with LF or CRLF"):
        read_texts(path, COLUMNS)


def test_suffixes_are_told_in_any_case_and_behind_those_of_a_compression(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "A.CSV", "text\none\n")) == [Text("1", "one")]
    assert texts(write(tmp_path / "A.TXT", "one\n")) == [Text("1", "one")]
    for name, content in (
        ("A.JSONL.GZ", '{"text": "one"}\n'),
        ("a.tsv.gz", "text\none\n"),
        ("a.txt.gz", "one\n"),
    ):
        (tmp_path / name).write_bytes(gzip.compress(content.encode()))
        assert texts(tmp_path / name) == [Text("1", "one")]
    (row,) = read_documents(tmp_path / "a.txt.gz").rows
    assert row.raw == b"one\n"
    write(tmp_path / "a.txt.gz", "no gzip")
    with pytest.raises(DataError, match=r"in .*a\.txt\.gz\n  (it cannot be unpacked: )?\w+"):
        read_texts(tmp_path / "a.txt.gz", COLUMNS)
    with pytest.raises(
        DataError, match=r"files with the suffix '\.md' are not read\n  one JSON object a line"
    ):
        read_texts(write(tmp_path / "a.MD", "one"), COLUMNS)


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
