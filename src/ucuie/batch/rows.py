"""Rows: texts as they stand in JSON Lines, plain text, CSV, TSV and Parquet, and what becomes of them.

A row without a usable text is a row with its fault. Errors of the file itself are those of its reader, raised
while rows are taken; `unreadable` puts them into words.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from ucuie.errors import MAX_VALUE_LENGTH, TextError, did_you_mean, show
from ucuie.extract.result import Extraction
from ucuie.schema import Dropped, Record

Kind = Literal["json", "line", "row", "file"]
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
_MOST_BYTES_PER_CHARACTER = 12
"""As JSON may write one: two escaped surrogates."""
_BYTES_BESIDE_TEXT = 65_536


@dataclass(frozen=True)
class Columns:
    """The keys or columns of a row's text and id, and how long a text may be.

    A row without an id is called by its file and number. A longer text than `max_characters` is not read;
    left out, any that memory holds is.
    """

    text: str = "text"
    id: str = "id"
    max_characters: int = 2**40

    @property
    def max_bytes(self) -> int:
        """A longer row is not even loaded."""
        return _MOST_BYTES_PER_CHARACTER * self.max_characters + _BYTES_BESIDE_TEXT

    def too_long(self, size: str) -> str:
        """The fault of a text of that size."""
        limit = f"{self.max_characters:,} characters; --max-characters sets it"
        return f"the text has {size}, the limit is {limit}"


class Text(NamedTuple):
    """The contents of a row; `elements` are as they stand there."""

    id: str
    text: str
    elements: Any = None


@dataclass(frozen=True)
class Row:
    """One text of the input, unread.

    Args:
        file: its file, as a path in the input; empty where the input is one file that needs no name.
        number: of the line, of the row of a table, or of the file, from 1.
        raw: a line of JSON, or the text itself, in UTF-8 if all is well.
        kind: a line of JSON, a line of plain text, a row of a table, or a whole file.
        id: of a text that is no JSON; None takes file and number.
        fault: why it cannot be read, where that is known already.
    """

    file: str
    number: int
    raw: bytes
    kind: Kind = "line"
    id: str | None = None
    fault: str | None = None

    @property
    def name(self) -> str:
        """The id of a row that has none of its own."""
        return f"{self.file}:{self.number}" if self.file else str(self.number)

    @property
    def unit(self) -> str:
        """The word for what is numbered: line, row or file."""
        return "line" if self.kind == "json" else self.kind

    def read(self, columns: Columns) -> Text:
        """The text with its id.

        Raises:
            TextError: there is none, or it is too long; says why.
        """
        if self.fault is not None:
            raise TextError(self.fault)
        try:
            raw = self.raw.decode()
        except UnicodeDecodeError as error:
            raise TextError(not_utf8(error)) from None
        text = self._object(raw, columns) if self.kind == "json" else Text(self.id or self.name, raw)
        if len(text.text) > columns.max_characters:
            raise TextError(columns.too_long(f"{len(text.text):,} characters"))
        return text

    def _object(self, raw: str, columns: Columns) -> Text:
        try:
            value = json.loads(raw)
        except json.JSONDecodeError as error:
            raise TextError(f"not JSON: {error.msg}") from None
        except RecursionError:
            raise TextError("not JSON: nested too deeply") from None
        except ValueError as error:  # an integer of more digits than Python reads
            raise TextError(f"not JSON: {error}") from None
        if not isinstance(value, dict):
            raise TextError(f'not an object with "{columns.text}": {show(value)}')
        if columns.text not in value:
            raise TextError(f'"{columns.text}" is missing{did_you_mean(columns.text, value)}')
        text, text_id = value[columns.text], value.get(columns.id, self.name)
        if not isinstance(text, str):
            raise TextError(f'"{columns.text}" is not a string: {show(text)}')
        if not isinstance(text_id, str | int) or isinstance(text_id, bool):
            raise TextError(f'"{columns.id}" is neither a string nor a number: {show(text_id)}')
        return Text(str(text_id), text, value.get("elements"))


def not_utf8(error: UnicodeDecodeError) -> str:
    """The fault of bytes that are no text."""
    return f"byte {error.start}   not UTF-8"


class OutputRow(BaseModel):
    """The output for a row: its place, and its `Extraction` or the error why there is none.

    Args:
        id: of the text; its file and number where it has none or cannot be read.
        file: a path in the input; `row` is the number of the row in it.
        text: None where there is an error.
        error: None where the text was answered.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    file: str
    row: int
    text: str | None = None
    records: tuple[Record, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    truncated: bool = False
    model: str
    seconds: float = 0.0
    error: str | None = None

    @classmethod
    def of(cls, row: Row, extraction: Extraction) -> "OutputRow":
        """An answered row."""
        shared = cls.model_fields.keys() & Extraction.model_fields.keys()
        return cls(file=row.file, row=row.number, **{name: getattr(extraction, name) for name in shared})

    @classmethod
    def failed(cls, row: Row, error: str, *, model: str, id: str | None = None) -> "OutputRow":  # noqa: A002
        """A row without an answer; an id that cannot be written is left out too."""
        named = id or row.id or ""
        is_usable = named and named.isprintable()
        return cls(
            id=named if is_usable else row.name, file=row.file, row=row.number, model=model, error=error
        )


@dataclass(frozen=True)
class TableFile:
    """An open table; its rows can be taken once, `num_rows` is None where only reading tells."""

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
    num_rows = None
    if suffix == PARQUET_SUFFIX:
        names, num_rows, cells = _parquet_cells(content, columns)
    else:
        names, cells = _separated_cells(content, _SEPARATORS[suffix])
    numbered = enumerate(cells, start=1)
    rows = (_row(file, number, one, names, columns) for number, one in numbered if one is not None)
    return TableFile(names, rows, num_rows)


_Cells = Iterator[Mapping[str, object] | str | None]
"""For each row a mapping from its columns, or its fault; None for a blank line."""


def _separated_cells(content: IO[bytes], separator: str) -> tuple[Sequence[str], _Cells]:
    # The limit is Python's own and one for all; ours is on bytes, below.
    csv.field_size_limit(2**31 - 1)
    limited = _LimitedLines(content)
    reader = csv.reader(limited, delimiter=separator)
    names = next(reader, [])

    def rows() -> _Cells:
        for cells in reader:
            limited.size = 0
            if len(cells) > len(names):
                yield f"the row has {len(cells):,} cells, the first line names {len(names):,} columns"
            else:
                yield dict(zip(names, cells, strict=False)) if cells else None

    return names, rows()


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
    text, text_id = cells.get(columns.text), cells.get(columns.id)
    name = None if text_id in (None, "") else str(text_id)
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
