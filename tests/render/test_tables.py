"""Data frames and tables: a row for each filler, beside the index or id that its text came with."""

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractions import EVERYTHING, extractions
from ucuie import Extraction, Extractor
from ucuie.errors import ConfigError, MissingExtraError, TextError
from ucuie.render.frames import COLUMNS, arrow_table, extract_frame, extract_table, write_parquet

pandas = pytest.importorskip("pandas", reason="the extra tables is not installed")
arrow = pytest.importorskip("pyarrow", reason="the extra tables is not installed")

SCHEMA = {"live in": ["subject", "object"]}
TEXTS = [f"{name} lived in {place}." for name in ("Ada", "Bo", "Cy") for place in ("London", "Rome")]


@pytest.fixture(scope="module")
def extractor(adapted_folder: Path) -> Extractor:
    return Extractor.from_pretrained(adapted_folder, max_new_tokens=24)


def expected(extractor: Extractor, texts: list[str]) -> list[tuple[Any, ...]]:
    """Place, number, frame, slot, start and end of what the tiny model answers."""
    rows: list[tuple[Any, ...]] = []
    for place, extraction in enumerate(extractor.extract_batch(texts, SCHEMA)):
        for number, record in enumerate(extraction.records):
            items: list[tuple[Any, Any]] = [(one.slot, one.filler) for one in record.slots]
            if record.filler is not None or not items:
                items.insert(0, (None, record.filler))
            for slot, filler in items:
                span = (None, None) if filler is None else filler.span
                rows.append((place, number, record.frame, slot, *span))
    return rows


def test_every_filler_is_a_row() -> None:
    rows = arrow_table([EVERYTHING]).to_pylist()
    assert [(row["record"], row["frame"], row["slot"], row["text"]) for row in rows] == [
        (0, "person", None, "Ada Lovelace"),
        (1, "live in", "who", "Ada"),
        (1, "live in", "where", "London"),
        (2, "write", None, "wrote"),
        (2, "write", "place", "there"),
        (2, "write", "time", None),
        (3, "travel", None, None),
    ]
    assert {row["id"] for row in rows} == {"a b"}
    assert rows[1]["score"] == 0.5
    assert rows[1]["record_score"] == 0.8
    assert rows[-1]["start"] is None


@given(st.lists(extractions(), max_size=3))
def test_rows_are_grounded_and_complete(many: list[Extraction]) -> None:
    table = arrow_table(many)
    texts = {extraction.id: extraction.text for extraction in many}
    if len(texts) == len(many):
        for row in table.to_pylist():
            assert row["text"] is None or texts[row["id"]][row["start"] : row["end"]] == row["text"]
    found = sum(sum(1 for _ in record.fillers()) for one in many for record in one.records)
    assert table.num_rows - table["text"].null_count == found


def test_parquet_reads_back(tmp_path: Path) -> None:
    from pyarrow import parquet

    write_parquet([EVERYTHING], tmp_path / "new" / "found.parquet")
    assert parquet.read_table(tmp_path / "new" / "found.parquet") == arrow_table([EVERYTHING])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["found.parquet"]


@pytest.mark.parametrize("index", [range(10, 16), list("abcdef"), [1, 1, 2, 2, 3, 3]])
def test_a_data_frame_keeps_its_index(extractor: Extractor, index: Any) -> None:
    frame = pandas.DataFrame({"text": TEXTS, "other": range(6)}, index=index)
    found = extract_frame(extractor, frame, SCHEMA)
    wanted = expected(extractor, TEXTS)
    assert wanted
    assert list(found.columns) == list(COLUMNS)
    assert list(found.index) == [list(index)[place] for place, *_ in wanted]
    columns = found[["record", "frame", "slot", "start", "end"]].astype(object)
    rows = columns.where(columns.notna(), None).itertuples(index=False, name=None)
    assert list(rows) == [row[1:] for row in wanted]
    assert found["start"].dtype == "Int64"
    assert extract_frame(extractor, frame["text"], SCHEMA).equals(found)


def test_missing_and_blank_texts_have_no_rows(extractor: Extractor) -> None:
    cells = [None, TEXTS[0], float("nan"), "", " \n", pandas.NA, pandas.NaT, TEXTS[1]]
    found = extract_frame(extractor, pandas.Series(cells, dtype=object), SCHEMA)
    whole = extract_frame(extractor, pandas.Series(TEXTS[:2]), SCHEMA)
    assert set(found.index) <= {1, 7}
    assert len(found) == len(whole)


def test_a_frame_without_texts_is_an_empty_long_table(extractor: Extractor) -> None:
    found = extract_frame(extractor, pandas.DataFrame({"text": []}), SCHEMA)
    assert (list(found.columns), len(found)) == (list(COLUMNS), 0)
    assert (
        extract_table(extractor, arrow.table({"text": arrow.array([], arrow.string())}), SCHEMA).num_rows == 0
    )


@pytest.mark.parametrize(
    "texts", [arrow.chunked_array([TEXTS[:2], TEXTS[2:]]), arrow.array(TEXTS).dictionary_encode()]
)
def test_a_table_keeps_its_ids_and_their_type(extractor: Extractor, texts: Any) -> None:
    ids = arrow.array([100, 200, 300, 400, 500, 600], arrow.int16())
    table = arrow.table({"words": texts, "key": ids})
    found = extract_table(extractor, table, SCHEMA, column="words", id_column="key")
    wanted = expected(extractor, TEXTS)
    assert found["id"].to_pylist() == [(place + 1) * 100 for place, *_ in wanted]
    assert found.schema.field("id").type == arrow.int16()
    numbered = extract_table(extractor, table, SCHEMA, column="words")
    assert numbered["id"].to_pylist() == [place for place, *_ in wanted]


def test_what_cannot_be_used_is_named(extractor: Extractor) -> None:
    with pytest.raises(ConfigError, match="no column 'txt'; did you mean 'text'"):
        extract_frame(extractor, pandas.DataFrame({"text": TEXTS}), SCHEMA, column="txt")
    with pytest.raises(ConfigError, match="no column 'key'"):
        extract_table(extractor, arrow.table({"text": TEXTS}), SCHEMA, id_column="key")
    twice = pandas.DataFrame([["Ada met Bob", "Cy ran"]], columns=["text", "text"])
    with pytest.raises(ConfigError, match="the column 'text' stands 2 times in it"):
        extract_frame(extractor, twice, SCHEMA)
    for columns in ({"column": "text"}, {"column": "other", "id_column": "text"}):
        table = arrow.table([["a"], ["b"], ["c"]], names=["text", "text", "other"])
        with pytest.raises(ConfigError, match="the column 'text' stands 2 times in it"):
            extract_table(extractor, table, SCHEMA, **columns)  # type: ignore[arg-type]
    with pytest.raises(TextError, match="row 1 holds 7, which is no text"):
        extract_frame(extractor, pandas.Series(["a", 7], dtype=object), SCHEMA)
    with pytest.raises(TextError, match=r"row 0 holds 1\.5"):
        extract_table(extractor, arrow.table({"text": [1.5]}), SCHEMA)


def test_a_missing_table_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ucuie\[tables\]'"):
        arrow_table([EVERYTHING])
