"""What is in the files is what comes out of them, and what cannot be read is told where it stands."""

import csv
import gzip
import json
from pathlib import Path

import fsspec
import pytest
from batch_cases import COLUMNS, write_lines
from hypothesis import given
from hypothesis import strategies as st

from ucuie.batch.rows import Columns, Row
from ucuie.batch.sources import Source
from ucuie.errors import ConfigError, DataError, TextError

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), min_size=1))


def rows(path: Path | str, columns: Columns = COLUMNS) -> list[Row]:
    return [row for row, _ in Source(str(path), columns).rows()]


def read(path: Path | str, columns: Columns = COLUMNS) -> list[str]:
    """The text of each row, or what is wrong with it in brackets."""
    return [text_of(row, columns) for row in rows(path, columns)]


def text_of(row: Row, columns: Columns) -> str:
    try:
        return row.read(columns).text
    except TextError as error:
        return f"[{error}]"


@given(texts=TEXTS)
def test_any_text_comes_out_of_any_format(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder = tmp_path_factory.mktemp("texts")
    texts = ["first", *texts]
    with (folder / "a.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    with gzip.open(folder / "b.jsonl.gz", "wt", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    with (folder / "c.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *([n, text] for n, text in enumerate(texts))])
    parquet.write_table(pa.table({"text": texts, "id": list(range(len(texts)))}), folder / "d.parquet")
    for path in sorted(folder.iterdir()):
        assert read(path) == texts, path.suffix
    assert read(folder) == texts * 4


def test_a_file_of_plain_text_has_a_text_a_line_and_a_folder_a_text_a_file(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.txt").write_text("\ufeffone\ntwo\n", encoding="utf-8")
    (tmp_path / "a.txt").write_text("zero\r\n\nlast")
    assert read(tmp_path / "a.txt") == ["zero", "last"]
    assert [row.number for row in rows(tmp_path / "a.txt")] == [1, 3]
    assert read(tmp_path) == ["zero\r\n\nlast", "one\ntwo\n"]
    assert [row.read(COLUMNS).id for row in rows(tmp_path)] == ["a.txt", "deep/b.txt"]


def test_every_bad_line_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_bytes(
        b'{"text": "good"}\n{broken\n\xff\xfe\n[1]\n{"txt": "x"}\n{"text": 5}\n{"text": "x", "id": [1]}\n'
        b'{"text": "' + b"x" * 100_000 + b'"}\n\n{"text": "last"}'
    )
    found = read(path, Columns(max_characters=1_000))
    assert found[0] == "good"
    assert found[-1] == "last"
    assert [text[:24] for text in found[1:-1]] == [
        "[not JSON: Expecting pro",
        "[byte 0   not UTF-8]",
        '[not an object with "tex',
        '["text" is missing; did ',
        '["text" is not a string:',
        '["id" is neither a strin',
        "[the text has 100,013 by",
    ]
    assert [row.number for row in rows(path, Columns(max_characters=1_000))] == [1, 2, 3, 4, 5, 6, 7, 8, 10]


def test_a_text_may_have_just_so_many_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("äöüx\näöüxx\n", encoding="utf-8")
    assert read(path, Columns(max_characters=4)) == [
        "äöüx",
        "[the text has 5 characters, the limit is 4 characters; --max-characters sets it]",
    ]


def test_tables_with_other_columns_or_cells_are_told_row_by_row(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"body": ["a", "b"]}), tmp_path / "a.parquet")
    parquet.write_table(pa.table({"text": [1, 2]}), tmp_path / "b.parquet")
    parquet.write_table(pa.table({"text": ["x", None]}), tmp_path / "c.parquet")
    (tmp_path / "d.csv").write_bytes(b'text,id\n"two\nlines",1\n\xff,2\nx,3,4\n,5\n')
    assert read(tmp_path) == [
        *["[no column 'text' (choices: 'body')]"] * 2,
        "['text' is not a string: 1]",
        "['text' is not a string: 2]",
        "x",
        "['text' is empty]",
        "two\nlines",
        "[byte 0   not UTF-8]",
        "[the row has 3 cells, the first line names 2 columns]",
        "",
    ]
    assert read(tmp_path / "a.parquet", Columns(text="body")) == ["a", "b"]


def test_a_file_that_ends_too_soon_gives_what_came_before(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b'{"text": "%d"}\n' % n for n in range(50_000)))
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.parquet").write_bytes(b"PAR1 nonsense")
    (tmp_path / "c.jsonl").write_text('{"text": "last"}\n')
    found = read(tmp_path)
    assert found[0] == "0"
    assert found[-1] == "last"
    assert [text.partition(" on:")[0] for text in found if text.startswith("[")] == [
        f"[the file cannot be read from row {len(found) - 2}",
        "[the file cannot be read from row 1",
    ]


def test_an_open_quote_does_not_swallow_all_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ucuie.batch.tables._LONGEST_ROW", 1_000)
    (tmp_path / "a.csv").write_text('text\ngood\n"open\n' + "x\n" * 2_000)
    assert read(tmp_path / "a.csv") == [
        "good",
        "[the file cannot be read from row 2 on: a row has more than 1,000 bytes; is a quote left open?]",
    ]


def test_folders_and_patterns_leave_out_what_is_hidden_or_of_other_kinds(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.JSONL", "_temporary.jsonl", ".hidden.jsonl", "readme.md", "x.parquet.gz"):
        (tmp_path / name).write_text(f'{{"text": "{name}"}}\n')
    assert read(tmp_path) == ["a.jsonl", "b.JSONL"]
    assert Source(str(tmp_path), COLUMNS).num_left_out == 4
    assert read(f"{tmp_path}/*.jsonl") == ["a.jsonl"]
    assert read(f"{tmp_path}/?.[jx]*") == ["a.jsonl"]


def test_a_path_that_exists_is_no_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "in [1]*"
    folder.mkdir()
    path = folder / "notes [1].jsonl"
    path.write_text('{"text": "one"}\n')
    (folder / "notes 1.jsonl").write_text('{"text": "other"}\n')
    assert read(path) == ["one"]
    assert [(row.file, row.number) for row in rows(folder)] == [("notes 1.jsonl", 1), ("notes [1].jsonl", 1)]


def test_an_open_quote_costs_the_rows_that_it_holds_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('id\ttext\n1\t"Bob met Cy\n2\tDi\n3\tEd\n')
    (tmp_path / "b.csv").write_text('text\n"Bob\n"Di"\nEd\n')
    (tmp_path / "c.txt").write_bytes("one".encode("utf-16"))
    (tmp_path / "d.csv").write_text("text,text\na,b\n")
    (tmp_path / "e.jsonl").write_bytes(b'{"text": "a"}\r{"text": "b"}\r')
    assert read(tmp_path) == [
        *('"Bob met Cy', "Di", "Ed"),
        *("[lines 2 to 3: not CSV: ',' expected after '\"']", "Ed"),
        "[it is UTF-16; save it as UTF-8]",
        "[the file cannot be read from row 1 on: the column 'text' stands twice in it]",
        (
            "[the file cannot be read from row 1 on: its lines end in CR alone; "
            "save it with LF or CRLF at their ends]"
        ),
    ]


def test_other_file_systems_are_read_too() -> None:
    with fsspec.open("memory://inbox/a.jsonl", "w") as file:
        file.write('{"text": "far away"}\n')
    assert read("memory://inbox/a.jsonl") == ["far away"]
    assert read("memory://inbox") == ["far away"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("{}/none.jsonl", "No such file"),
        ("{}", "no such file"),
        ("gopher://x/a.jsonl", "Protocol not known"),
        ("http://127.0.0.1:9/a.jsonl", ""),
    ],
)
def test_what_cannot_be_reached_is_told_with_what_to_name(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        Source(url.format(tmp_path), COLUMNS)
    assert said in str(caught.value)
    assert "name a file, a folder or a pattern" in str(caught.value)


def test_facts_tell_one_input_from_another(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n')
    before = Source(str(tmp_path), COLUMNS).facts
    assert Source(str(tmp_path), COLUMNS).facts == before
    (tmp_path / "b.jsonl").write_text('{"text": "b"}\n')
    assert Source(str(tmp_path), COLUMNS).facts != before


def test_an_output_that_would_be_part_of_the_input_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "in [1]"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"text": "a"}\n')
    for deep in (Source(str(folder), COLUMNS), Source(f"{tmp_path}/**", COLUMNS)):
        for place in (folder, folder / "out"):
            with pytest.raises(ConfigError, match="lies in the input, which would grow by it"):
                deep.check_output(str(place))
        deep.check_output("gopher://x/out")
    for shallow in (f"{tmp_path}/*/*.jsonl", str(folder / "a.jsonl")):
        Source(shallow, COLUMNS).check_output(str(folder / "out"))
    Source(str(folder), COLUMNS).check_output(str(tmp_path / "in [1]2"))
    Source(str(folder), COLUMNS).check_output(str(tmp_path))


def test_input_that_changes_is_told(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", ["a", "b"])
    source = Source(str(tmp_path), COLUMNS)
    source.check_unchanged()
    write_lines(path, ["a", "another"])
    with pytest.raises(DataError, match="rows may be missing\n  run it again, into a new folder"):
        source.check_unchanged()
    path.unlink()
    with pytest.raises(DataError, match="no such file"):
        source.check_unchanged()


def test_positions_ascend_to_the_size_of_the_input(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text('{"text": "x"}\n' * 1_000)
    source = Source(str(tmp_path), COLUMNS)
    positions = [position for _, position in source.rows()]
    assert positions == sorted(positions)
    assert positions[-1] == source.facts.num_bytes == 28_000


def test_a_bad_line_has_no_text() -> None:
    with pytest.raises(TextError, match="byte 0   not UTF-8"):
        Row("a", 1, b"\xff").read(COLUMNS)
