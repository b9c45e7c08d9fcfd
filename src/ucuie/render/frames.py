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

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ucuie.errors import ConfigError, TextError, did_you_mean, needs, show
from ucuie.extract.extractor import Extractor
from ucuie.extract.options import OptionArguments
from ucuie.extract.result import Extraction
from ucuie.files import staged_file
from ucuie.schema import Capability, Filler, Schema, Task

if TYPE_CHECKING:
    import pandas
    import pyarrow

COLUMNS = ("record", "frame", "slot", "text", "start", "end", "score", "record_score")
EXTRA = "tables"
_TYPES = {"record": "int64", "start": "Int64", "end": "Int64", "score": "float64", "record_score": "float64"}
"""Types of pandas, of the columns that are no strings: `Int64` are whole numbers, or missing."""
_Row = tuple[object, ...]


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
        schema: in any form that `Schema.of` reads.
        column: of a data frame, the one with the texts.
        task: see `Extractor.extract`.
        **options: see `AnswerOptions`.

    Returns:
        The long table; each row has the index of the text that it comes from.

    Raises:
        MissingExtraError: pandas is not installed.
        ConfigError: there is no such column, or several.
        TextError: a cell is no text, or cannot be used; all cells are looked at before any work.
        SchemaError: the schema cannot be read.
    """
    pandas = needs("pandas", EXTRA)
    texts = data if isinstance(data, pandas.Series) else _column(data, column, list(data.columns))
    places, rows = _extract(extractor, list(texts), schema, task, options)
    return pandas.DataFrame(rows, columns=list(COLUMNS), index=texts.index.take(places)).astype(_TYPES)


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
    """The fillers of all texts of a table of pyarrow, as `extract_frame` finds them.

    The values and type of `id_column` become those of `id`; None counts the rows from 0.

    Raises:
        MissingExtraError: pyarrow is not installed.
        ConfigError: there is no such column, or several.
        TextError: a cell is no text, or cannot be used; all cells are looked at before any work.
        SchemaError: the schema cannot be read.
    """
    arrow = needs("pyarrow", EXTRA)
    texts = _column(table, column, table.column_names)
    places, rows = _extract(extractor, texts.to_pylist(), schema, task, options)
    ids = arrow.array(places, arrow.int64())
    if id_column is not None:
        # The column of ids stays in Arrow's memory, whatever its type.
        ids = _column(table, id_column, table.column_names).take(ids)
    return _arrow_table(rows, ids)


def arrow_table(extractions: Sequence[Extraction]) -> "pyarrow.Table":
    """Extractions as a long table, by the ids of their texts.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    arrow = needs("pyarrow", EXTRA)
    rows = [(extraction.id, row) for extraction in extractions for row in _rows(extraction)]
    return _arrow_table([row for _, row in rows], arrow.array([name for name, _ in rows], arrow.string()))


def write_parquet(extractions: Sequence[Extraction], path: Path) -> None:
    """Writes the long table of extractions as a Parquet file, whole or not at all.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    table = arrow_table(extractions)
    with staged_file(path) as staged:
        needs("pyarrow.parquet", EXTRA).write_table(table, staged)


def _arrow_table(rows: Sequence[_Row], ids: Any) -> "pyarrow.Table":
    arrow = needs("pyarrow", EXTRA)
    columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(COLUMNS, ())
    types = {name: _TYPES.get(name, "string").lower() for name in COLUMNS}
    return arrow.table({"id": ids} | {name: arrow.array(columns[name], types[name]) for name in COLUMNS})


def _rows(extraction: Extraction) -> Iterator[_Row]:
    for number, record in enumerate(extraction.records):
        filled: list[tuple[str | None, Filler | None]] = [(one.slot, one.filler) for one in record.slots]
        if record.filler is not None or not filled:
            filled.insert(0, (None, record.filler))
        for slot, filler in filled:
            place = (None,) * 4 if filler is None else (filler.text, *filler.span, filler.score)
            yield number, record.frame, slot, *place, record.score


def _extract(
    extractor: Extractor,
    cells: Sequence[Any],
    schema: Any,
    task: Task | Capability | None,
    options: OptionArguments,
) -> tuple[list[int], list[_Row]]:
    """The rows of all cells that hold a text, and for each row the place of its cell."""
    for place, cell in enumerate(cells):
        if not isinstance(cell, str) and not _is_missing(cell):
            raise TextError(f"row {place} holds {show(cell)}, which is no text; turn the column into strings")
    texts = {place: cell for place, cell in enumerate(cells) if isinstance(cell, str) and cell.strip()}
    found = extractor.extract_batch(list(texts.values()), Schema.of(schema), task=task, **options)
    rows = [(place, row) for place, extraction in zip(texts, found, strict=True) for row in _rows(extraction)]
    return [place for place, _ in rows], [row for _, row in rows]


def _is_missing(cell: Any) -> bool:
    """Values that stand for a missing one differ, and but for None none equals itself: NaN, NaT, NA."""
    try:
        return cell is None or bool(cell != cell)
    except (TypeError, ValueError):  # pandas.NA is neither equal nor unequal, an array both
        return type(cell).__name__ == "NAType"


def _column(data: Any, name: str, names: Sequence[str]) -> Any:
    if name not in names:
        raise ConfigError(f"no column {show(name)}{did_you_mean(name, map(str, names))}")
    if names.count(name) > 1:
        raise ConfigError(
            f"the column {show(name)} stands {names.count(name)} times in it; rename all but one"
        )
    return data[name]
