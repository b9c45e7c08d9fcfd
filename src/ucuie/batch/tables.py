"""Tables of texts: CSV, TSV and Parquet, a row for each of theirs, strict where a quote is at stake.

CSV may have semicolons or tabs for commas, as its line of names tells. Errors of a file itself are those of
its reader, raised while rows are taken.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from ucuie.batch.rows import PARQUET_SUFFIX, SEPARATORS, Columns, Row, id_of
from ucuie.errors import MAX_VALUE_LENGTH, did_you_mean, show

_LONGEST_ROW = 2**28
"""Bytes, of a table with separators; a quoted cell that does not end would hold all the rest of its file."""
_PARQUET_ROWS = 64
"""In memory at once."""
_TAB_CELL = re.compile(r'(?:^|\t)(?:"((?:[^"]|"")*+)"(?=\t|\Z)|([^\t]*))')
"""A cell within quotes, or one whose quotes are characters."""


@dataclass(frozen=True)
class TableFile:
    """An open table; its rows can be taken once, `num_rows` is None where only reading tells."""

    names: Sequence[str]
    rows: Iterator[Row]
    num_rows: int | None = None


def open_table(content: IO[bytes], suffix: str, file: str, columns: Columns) -> TableFile:
    """The rows of a table, numbered from 1; the line of names, and blank ones before it, are not counted.

    The content has no byte order mark; `file` is what its rows call it. Of Parquet only the `columns` are
    loaded.

    Raises:
        Exception: of many classes, csv's and pyarrow's among them: it is no such table, or not whole.
    """
    num_rows = None
    if suffix == PARQUET_SUFFIX:
        names, num_rows, cells = _parquet_cells(content, columns)
    else:
        names, cells = _separated_cells(content, suffix, columns)
    for column in (columns.text, columns.id):
        if names.count(column) > 1:
            raise ValueError(f"the column {column!r} stands twice in it")
    numbered = enumerate(cells, start=1)
    rows = (_row(file, number, one, names, columns) for number, one in numbered if one is not None)
    return TableFile(names, rows, num_rows)


_Cells = Iterator[Mapping[str, object] | str | None]
"""For each row a mapping from its columns, or its fault; None for a blank line."""


def _separated_cells(content: IO[bytes], suffix: str, columns: Columns) -> tuple[Sequence[str], _Cells]:
    # The limit is Python's own and one for all; ours is on bytes, below.
    csv.field_size_limit(2**31 - 1)
    lines = _TableLines(content)
    rows = _cells_of(lines, _separator(lines.peek(), SEPARATORS[suffix], columns.text))
    names = next(rows, [])
    if isinstance(names, str):
        raise ValueError(names)

    def named() -> _Cells:
        for cells in rows:
            if isinstance(cells, str):
                yield cells
            elif len(cells) > len(names):
                yield f"the row has {len(cells):,} cells, the first line names {len(names):,} columns"
            else:
                yield dict(zip(names, cells, strict=False)) if cells else None

    return names, named()


def _separator(header: str, usual: str, column: str) -> str:
    """What stands between the columns: the usual, unless another one parts off that of the texts."""

    def fit(separator: str) -> tuple[bool, int]:
        names = next(csv.reader([header], delimiter=separator), [])
        return column in names, len(names)

    separators: tuple[str, ...] = (usual, *",;\t")
    return max(separators, key=fit)


def _cells_of(lines: "_TableLines", separator: str) -> Iterator[list[str] | str]:
    """The cells of each row, or its fault; between tabs a quote that closes no cell is a character."""
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        first = lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, ValueError) as error:
            if separator == "\t":
                found = _TAB_CELL.findall(lines.only_first(error))
                yield [quoted.replace('""', '"') or plain for quoted, plain in found]
            elif isinstance(error, ValueError):
                raise
            else:
                place = f"line {first}" if first == lines.number else f"lines {first} to {lines.number}"
                yield f"{place}: {_CSV_FAULTS.get(str(error), f'not CSV: {error}')}"
            continue
        yield cells


_CSV_FAULTS = {"unexpected end of data": "a quote is left open; one within a cell is written twice"}
"""Python's words in ours."""


class _TableLines:
    """Lines for the reader of tables, which can put back all but the first of a row."""

    def __init__(self, lines: IO[bytes]) -> None:
        self._lines = lines
        self._taken: list[bytes] = []
        self._again: deque[bytes] = deque()
        self._size = 0
        self.number = 0

    def __iter__(self) -> "_TableLines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._lines.readline(_LONGEST_ROW)
        if not line:
            raise StopIteration
        self.number += 1
        self._taken.append(line)
        self._size += len(line)
        if self._size >= _LONGEST_ROW:
            raise ValueError(f"a row has more than {_LONGEST_ROW:,} bytes; is a quote left open?")
        # Bytes that are no UTF-8 are told for their row.
        return line.decode(errors="surrogateescape")

    def peek(self) -> str:
        """The first line that is not blank, which is taken next."""
        line = b"\n"
        while line and not line.strip():
            line = self._lines.readline(_LONGEST_ROW)
            self.number += 1
        self.number -= 1
        self._again.append(line)
        return line.decode(errors="surrogateescape")

    def begin_row(self) -> int:
        """The number of its first line."""
        self._taken, self._size = [], 0
        return self.number + 1

    def only_first(self, error: Exception) -> str:
        """The first line of the row, without its end; the others are taken anew."""
        first, *others = self._taken
        if not others and isinstance(error, ValueError):
            raise error
        self._again.extendleft(reversed(others))
        self.number -= len(others)
        return first.decode(errors="surrogateescape").rstrip("\r\n")


def _parquet_cells(content: IO[bytes], columns: Columns) -> tuple[Sequence[str], int, _Cells]:
    from pyarrow import parquet

    table = parquet.ParquetFile(content)
    names = table.schema_arrow.names
    wanted = [name for name in (columns.text, columns.id) if name in names]
    batches = table.iter_batches(batch_size=_PARQUET_ROWS, columns=wanted)
    cells = (row for batch in batches for row in batch.to_pylist() or [{}] * len(batch))
    return names, table.metadata.num_rows, cells


def _row(
    file: str, number: int, cells: Mapping[str, object] | str, names: Sequence[str], columns: Columns
) -> Row:
    if isinstance(cells, str):
        return Row(file, number, b"", "row", fault=cells)
    text, name = cells.get(columns.text), id_of(cells.get(columns.id))
    if isinstance(text, str):
        text = text.encode(errors="surrogateescape")
    if isinstance(text, bytes):
        return Row(file, number, text, "row", name)
    if columns.text not in names:
        fault = missing_column(columns.text, names)
    else:
        fault = f"{columns.text!r} is " + ("empty" if text is None else f"not a string: {show(text)}")
    return Row(file, number, b"", "row", name, fault)


def missing_column(column: str, names: Sequence[str]) -> str:
    """The fault of a table that lacks a column."""
    # Without a line of names the first text stands in its place.
    return f"no column {column!r}{did_you_mean(column, [name[:MAX_VALUE_LENGTH] for name in names])}"
