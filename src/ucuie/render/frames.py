"""Data frames of pandas and tables of pyarrow: a column of texts in, a long table of fillers out.

A row for each filler, with these columns:

| column | holds |
|---|---|
| id | of the text (pyarrow); in pandas the index of its row takes that place |
| record | number of the record in its text, from 0 |
| frame | name of the record's frame |
| slot | name of the slot that is filled; missing where the frame itself is, by the words that evoke it |
| text, start, end | the filler, with its half-open range of characters; missing where there is none |
| score | of the filler |
| record_score | of the record |

A record without any filler has one row. Needs the extra `tables`; pandas alone will do for data frames.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ucuie.errors import ConfigError, TextError, did_you_mean, needs, show
from ucuie.extract.extractor import Extractor
from ucuie.extract.query import OptionArguments
from ucuie.extract.result import Extraction
from ucuie.schema import Capability, Filler, Record, Schema, Task

if TYPE_CHECKING:
    import pandas
    import pyarrow

COLUMNS = ("record", "frame", "slot", "text", "start", "end", "score", "record_score")
EXTRA = "tables"
_WHOLE_NUMBERS = ("start", "end")
_Row = tuple[int, str, str | None, str | None, int | None, int | None, float | None, float | None]


def extract_frame(
    extractor: Extractor,
    data: "pandas.DataFrame | pandas.Series[str]",
    schema: Any,
    *,
    column: str = "text",
    task: Task | Capability | None = None,
    **options: Unpack[OptionArguments],
) -> "pandas.DataFrame":
    """The fillers of all texts of a data frame; `data.join(...)` puts them beside the other columns.

    Args:
        extractor: finds them.
        data: a data frame with a column of texts, or that column. Missing and blank texts have no rows.
        schema: whatever `Schema.of` reads.
        column: of a data frame, the one with the texts.
        task: as for `Extractor.extract`.
        **options: see `AnswerOptions`.

    Returns:
        The long table; each row has the index of the text that it comes from.

    Raises:
        MissingExtraError: pandas is not installed.
        ConfigError: there is no such column.
        TextError: a cell is no text, or cannot be used; all cells are looked at before any work.
        SchemaError: the schema cannot be read.
    """
    pandas = needs("pandas", EXTRA)
    texts = data if isinstance(data, pandas.Series) else _column(data, column, list(data.columns))
    places, found = _extract(extractor, list(texts), schema, task, options)
    rows = [
        (place, row) for place, extraction in zip(places, found, strict=True) for row in _rows(extraction)
    ]
    result = pandas.DataFrame(
        [row for _, row in rows], columns=list(COLUMNS), index=texts.index.take([place for place, _ in rows])
    )
    # A column with a missing number would become one of floats.
    return result.astype(
        {"record": "int64", "score": "float64", "record_score": "float64"}
        | dict.fromkeys(_WHOLE_NUMBERS, "Int64")
    )


def extract_table(
    extractor: Extractor,
    table: "pyarrow.Table",
    schema: Any,
    *,
    column: str = "text",
    id_column: str | None = None,
    task: Task | Capability | None = None,
    **options: Unpack[OptionArguments],
) -> "pyarrow.Table":
    """The fillers of all texts of a table of pyarrow.

    Args:
        extractor: finds them.
        table: with a column of texts. Missing and blank ones have no rows.
        schema: whatever `Schema.of` reads.
        column: the one with the texts.
        id_column: the one that tells texts apart; its values and type become those of `id`. None counts the
            rows from 0.
        task: as for `Extractor.extract`.
        **options: see `AnswerOptions`.

    Raises:
        MissingExtraError: pyarrow is not installed.
        ConfigError: there is no such column.
        TextError: a cell is no text, or cannot be used; all cells are looked at before any work.
        SchemaError: the schema cannot be read.
    """
    arrow = needs("pyarrow", EXTRA)
    texts = _column(table, column, table.column_names)
    places, found = _extract(extractor, texts.to_pylist(), schema, task, options)
    counts = [len(_rows(extraction)) for extraction in found]
    row_places = arrow.array(
        [place for place, count in zip(places, counts, strict=True) for _ in range(count)], arrow.int64()
    )
    # The column of ids stays in Arrow's memory, whatever its type.
    ids = row_places if id_column is None else _column(table, id_column, table.column_names).take(row_places)
    return _arrow_table(found, ids)


def arrow_table(extractions: Sequence[Extraction]) -> "pyarrow.Table":
    """Extractions as a long table, by the ids of their texts.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    arrow = needs("pyarrow", EXTRA)
    ids = [extraction.id for extraction in extractions for _ in _rows(extraction)]
    return _arrow_table(extractions, arrow.array(ids, arrow.string()))


def write_parquet(extractions: Sequence[Extraction], path: Path) -> None:
    """Writes the long table of extractions as a Parquet file, whole or not at all.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    table = arrow_table(extractions)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.part")
    try:
        needs("pyarrow.parquet", EXTRA).write_table(table, staged)
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def _arrow_table(extractions: Sequence[Extraction], ids: Any) -> "pyarrow.Table":
    arrow = needs("pyarrow", EXTRA)
    types = {"record": arrow.int64(), "score": arrow.float64(), "record_score": arrow.float64()}
    types |= dict.fromkeys(_WHOLE_NUMBERS, arrow.int64())
    rows = [row for extraction in extractions for row in _rows(extraction)]
    columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    arrays = {
        name: arrow.array(values, types.get(name, arrow.string()))
        for name, values in zip(COLUMNS, columns, strict=True)
    }
    return arrow.table({"id": ids, **arrays})


def _rows(extraction: Extraction) -> list[_Row]:
    return [row for number, record in enumerate(extraction.records) for row in _record_rows(number, record)]


def _record_rows(number: int, record: Record) -> Iterator[_Row]:
    filled: list[tuple[str | None, Filler | None]] = [(one.slot, one.filler) for one in record.slots]
    if record.filler is not None or not filled:
        filled.insert(0, (None, record.filler))
    for slot, filler in filled:
        text, start, end, score = (
            (None, None, None, None)
            if filler is None
            else (filler.text, filler.start, filler.end, filler.score)
        )
        yield number, record.frame, slot, text, start, end, score, record.score


def _extract(
    extractor: Extractor,
    cells: Sequence[Any],
    schema: Any,
    task: Task | Capability | None,
    options: OptionArguments,
) -> tuple[list[int], list[Extraction]]:
    """The extractions of the cells that hold a text, and the places of these cells."""
    texts = dict(_texts(cells))
    found = extractor.extract_batch(list(texts.values()), Schema.of(schema), task=task, **options)
    return list(texts), found


def _texts(cells: Iterable[Any]) -> Iterator[tuple[int, str]]:
    for place, cell in enumerate(cells):
        if isinstance(cell, str):
            if cell.strip():
                yield place, cell
        # What stands for a missing value differs, and none of them equals itself: NaN, NaT, NA.
        elif cell is not None and not _is_missing(cell):
            raise TextError(f"row {place} holds {show(cell)}, which is no text; turn the column into strings")


def _is_missing(cell: Any) -> bool:
    try:
        return bool(cell != cell)
    except (TypeError, ValueError):  # pandas.NA is neither equal nor unequal, an array both
        return type(cell).__name__ == "NAType"


def _column(data: Any, name: str, names: Sequence[str]) -> Any:
    if name not in names:
        raise ConfigError(f"no column {show(name)}{did_you_mean(name, map(str, names))}")
    return data[name]
