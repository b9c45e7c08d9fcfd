"""Files of texts as rows, whatever holds them: JSON Lines, plain text, CSV, TSV and Parquet.

A row without a usable text is a row with its fault. Errors of the file itself are those of its reader, raised
while rows are taken; `unreadable` puts them into words.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from ucuie.batch.rows import Columns, Row
from ucuie.errors import MAX_VALUE_LENGTH, did_you_mean, show

PLAIN_SUFFIX = ".txt"
JSON_SUFFIXES = (".jsonl", ".ndjson")
PARQUET_SUFFIX = ".parquet"
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
TABLE_SUFFIXES = (*_SEPARATORS, PARQUET_SUFFIX)
_LONGEST_ROW = 2**28
"""Bytes, of a table with separators; a quoted cell that does not end would hold all the rest of its file."""
_REST_BYTES = 2**16
"""Taken at once of a line that is too long."""
_PARQUET_ROWS = 64
"""In memory at once."""


@dataclass(frozen=True)
class TableFile:
    """An open table.

    Its rows can be taken once; `num_rows` is None where only reading tells.
    """

    names: Sequence[str]
    rows: Iterator[Row]
    num_rows: int | None = None


def open_table(content: IO[bytes], suffix: str, file: str, columns: Columns) -> TableFile:
    """The rows of a table, numbered from 1; a line of names is not counted.

    The content has no byte order mark; `file` is what its rows call it. Of Parquet only the `columns` are
    loaded.

    Raises:
        Exception: of many classes, csv's and pyarrow's among them: it is no such table, or not whole.
    """
    if suffix == PARQUET_SUFFIX:
        return _parquet(content, file, columns)
    # The limit is Python's own and one for all; ours is on bytes, below.
    csv.field_size_limit(2**31 - 1)
    limited = _LimitedLines(content)
    reader = csv.reader(limited, delimiter=_SEPARATORS[suffix])
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
    """The fault of a table that lacks a column."""
    # Without a line of names the first text stands in its place.
    return f"no column {column!r}{did_you_mean(column, [name[:MAX_VALUE_LENGTH] for name in names])}"


def unreadable(num_read: int, error: Exception) -> str:
    """The fault of a file that cannot be read, or no further than so many rows."""
    return f"the file cannot be read from row {num_read + 1} on: {said(error)}"


def said(error: Exception) -> str:
    """The words of an error, with its class where they are few."""
    reason = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
    return reason if " " in reason else f"{type(error).__name__}: {reason}"


def line_rows(lines: IO[bytes], file: str, columns: Columns, *, is_json: bool) -> Iterator[Row]:
    """A row for each line that is not blank, in memory one by one; of one that is too long only its fault.

    Lines end at LF alone: texts may hold other separators.
    """
    limit = columns.max_bytes
    number = 0
    while line := lines.readline(limit):
        number += 1
        size = len(line)
        if line.endswith(b"\n") or size < limit:
            if line.strip():
                raw = line.removesuffix(b"\n").removesuffix(b"\r")
                yield Row(file, number, raw, "json" if is_json else "line")
            continue
        while rest := lines.readline(_REST_BYTES):
            size += len(rest)
            if rest.endswith(b"\n"):
                break
        yield Row(file, number, b"", fault=columns.too_long(f"{size:,} bytes"))
