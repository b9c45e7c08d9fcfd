"""Tables as rows: CSV, TSV and Parquet.

A row without a usable text is a row with its fault. Errors of the file itself are those of its reader, raised
while rows are taken; `unreadable` puts them into words.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from ucuie.batch.rows import Columns, Row
from ucuie.errors import MAX_VALUE_LENGTH, did_you_mean, needs, show

SEPARATORS = {".csv": ",", ".tsv": "\t"}
PARQUET_SUFFIX = ".parquet"
SUFFIXES = (*SEPARATORS, PARQUET_SUFFIX)
_LONGEST_ROW = 2**28
"""Bytes, of a table with separators; a quoted cell that does not end would hold all the rest of its file."""
_PARQUET_ROWS = 64
"""In memory at once."""


@dataclass(frozen=True)
class TableFile:
    """An open table.

    Args:
        names: what its columns are called.
        rows: can be taken once.
        num_rows: None where only reading tells.
    """

    names: Sequence[str]
    rows: Iterator[Row]
    num_rows: int | None = None


def open_table(content: IO[bytes], suffix: str, file: str, columns: Columns) -> TableFile:
    """The rows of a table, numbered from 1; a line of names is not counted.

    Args:
        content: of the table, without a byte order mark.
        suffix: says what it is.
        file: what its rows call it.
        columns: of Parquet only these are loaded.

    Raises:
        Exception: of many classes, csv's and pyarrow's among them: it is no such table, or not whole.
    """
    if suffix == PARQUET_SUFFIX:
        return _parquet(content, file, columns)
    # The limit is Python's own and one for all; ours is on bytes, below.
    csv.field_size_limit(2**31 - 1)
    limited = _LimitedLines(content)
    reader = csv.reader(limited, delimiter=SEPARATORS[suffix])
    names = next(reader, [])

    def rows() -> Iterator[Row]:
        for number, cells in enumerate(reader, start=1):
            limited.size = 0
            if len(cells) > len(names):
                fault = f"the row has {len(cells):,} cells, the first line names {len(names):,} columns"
                yield Row(file, number, b"", "row", fault=fault)
            elif cells:
                values = dict(zip(names, cells, strict=False))
                yield _row(file, number, values.get(columns.text), values.get(columns.id), names, columns)

    return TableFile(names, rows())


class _LimitedLines:
    """Lines for the reader of tables; `size` is what it took since it was last set to 0."""

    def __init__(self, lines: IO[bytes]) -> None:
        self._lines = lines
        self.size = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._lines.readline(_LONGEST_ROW):
            self.size += len(line)
            if self.size > _LONGEST_ROW:
                raise ValueError(f"a row has more than {_LONGEST_ROW:,} bytes; is a quote left open?")
            # Bytes that are no UTF-8 are told for their row.
            yield line.decode(errors="surrogateescape")


def _parquet(content: IO[bytes], file: str, columns: Columns) -> TableFile:
    from pyarrow import parquet

    table = parquet.ParquetFile(content)
    names = table.schema_arrow.names
    wanted = [name for name in (columns.text, columns.id) if name in names]

    def rows() -> Iterator[Row]:
        number = 0
        for batch in table.iter_batches(batch_size=_PARQUET_ROWS, columns=wanted):
            texts, ids = (
                batch.column(name).to_pylist() if name in wanted else [None] * len(batch)
                for name in (columns.text, columns.id)
            )
            for text, text_id in zip(texts, ids, strict=True):
                number += 1
                yield _row(file, number, text, text_id, names, columns)

    return TableFile(names, rows(), table.metadata.num_rows)


def _row(
    file: str, number: int, text: object, text_id: object, names: Sequence[str], columns: Columns
) -> Row:
    """A row from its cells."""
    name = None if text_id in (None, "") else str(text_id)
    if isinstance(text, str):
        return Row(file, number, text.encode(errors="surrogateescape"), "row", name)
    if isinstance(text, bytes):
        return Row(file, number, text, "row", name)
    if columns.text not in names:
        fault = missing_column(columns.text, names)
    elif text is None:
        fault = f"{columns.text!r} is empty"
    else:
        fault = f"{columns.text!r} is not a string: {show(text)}"
    return Row(file, number, b"", "row", name, fault)


def missing_column(column: str, names: Sequence[str]) -> str:
    """What is said of a column that a table does not have."""
    # Without a line of names the first text stands in its place.
    return f"no column {column!r}{did_you_mean(column, [name[:MAX_VALUE_LENGTH] for name in names])}"


def unreadable(num_read: int, error: Exception) -> str:
    """What is said of a file that cannot be read, or no further than so many rows."""
    return f"the file cannot be read from row {num_read + 1} on: {said(error)}"


def said(error: Exception) -> str:
    """What an error says, with its class where it says little."""
    reason = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
    return reason if " " in reason else f"{type(error).__name__}: {reason}"


def require_parquet() -> None:
    """Say what to install where pyarrow is missing.

    Raises:
        MissingExtraError: it is.
    """
    needs("pyarrow.parquet", "tables")
