"""The rows of a table, CSV, TSV or Parquet: the text and the id of each, or why there is no text.

A row without a usable text is a row with its fault. Errors of the file itself are those of its reader, raised
while rows are taken; `unreadable` puts them into words.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

from ucuie.errors import MAX_VALUE_LENGTH, did_you_mean, needs, show

SEPARATORS = {".csv": ",", ".tsv": "\t"}
PARQUET_SUFFIX = ".parquet"
SUFFIXES = (*SEPARATORS, PARQUET_SUFFIX)
_LONGEST_ROW = 2**28
"""Bytes, of a table with separators; a quoted cell that does not end would hold all the rest of its file."""
_PARQUET_ROWS = 64
"""In memory at once."""


@dataclass(frozen=True)
class TableRow:
    """One row.

    Args:
        number: from 1, the line of names not counted.
        text: the cell, in UTF-8 if all is well.
        id: None where there is none, or an empty one.
        fault: why there is no text.
    """

    number: int
    text: bytes
    id: str | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Table:
    """An open table.

    Args:
        names: of its columns.
        rows: can be taken once.
        num_rows: None where only reading tells.
    """

    names: Sequence[str]
    rows: Iterator[TableRow]
    num_rows: int | None = None


class Lines(Protocol):
    """What lines in bytes are read from."""

    def readline(self, size: int, /) -> bytes:
        """The next line, or so many bytes of it."""


def separated_table(lines: Lines, separator: str, *, text_column: str, id_column: str) -> Table:
    """A table of lines, the first with the names of the columns; without a byte order mark.

    Raises:
        ValueError: the first line is too long.
        csv.Error: or is none of a table.
    """
    # The limit is Python's own and one for all; ours is on bytes, below.
    csv.field_size_limit(2**31 - 1)
    limited = _LimitedLines(lines)
    reader = csv.reader(limited, delimiter=separator)
    names = next(reader, [])

    def rows() -> Iterator[TableRow]:
        for number, cells in enumerate(reader, start=1):
            limited.size = 0
            if not cells:
                continue
            if len(cells) > len(names):
                fault = f"the row has {len(cells):,} cells, the first line names {len(names):,} columns"
                yield TableRow(number, b"", fault=fault)
                continue
            values = dict(zip(names, cells, strict=False))
            yield _row(number, values.get(text_column), values.get(id_column), names, text_column)

    return Table(names, rows())


class _LimitedLines:
    """Lines for the reader of tables; `size` is what it took since it was last set to 0."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.size = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._lines.readline(_LONGEST_ROW):
            self.size += len(line)
            if self.size > _LONGEST_ROW:
                raise ValueError(f"a row has more than {_LONGEST_ROW:,} bytes; is a quote left open?")
            # Bytes that are no UTF-8 are told for their row.
            yield line.decode(errors="surrogateescape")


def parquet_table(file: IO[bytes], *, text_column: str, id_column: str) -> Table:
    """A Parquet file, of which only these two columns are loaded.

    Raises:
        Exception: pyarrow's, of several classes: it is no Parquet, or not whole.
    """
    from pyarrow import parquet

    table = parquet.ParquetFile(file)
    names = table.schema_arrow.names
    wanted = [name for name in (text_column, id_column) if name in names]

    def rows() -> Iterator[TableRow]:
        number = 0
        for batch in table.iter_batches(batch_size=_PARQUET_ROWS, columns=wanted):
            texts, ids = (
                batch.column(name).to_pylist() if name in wanted else [None] * len(batch)
                for name in (text_column, id_column)
            )
            for text, text_id in zip(texts, ids, strict=True):
                number += 1
                yield _row(number, text, text_id, names, text_column)

    return Table(names, rows(), table.metadata.num_rows)


def _row(number: int, text: object, text_id: object, names: Sequence[str], text_column: str) -> TableRow:
    """A row from its cells."""
    name = None if text_id in (None, "") else str(text_id)
    if isinstance(text, str):
        return TableRow(number, text.encode(errors="surrogateescape"), name)
    if isinstance(text, bytes):
        return TableRow(number, text, name)
    if text_column not in names:
        fault = missing_column(text_column, names)
    elif text is None:
        fault = f"{text_column!r} is empty"
    else:
        fault = f"{text_column!r} is not a string: {show(text)}"
    return TableRow(number, b"", name, fault)


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
