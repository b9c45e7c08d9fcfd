"""Rows: texts as they stand in lines of JSON or plain text and in tables, and what becomes of them.

A row without a usable text is a row with its fault. Errors of the file itself are those of its reader, raised
while rows are taken; `unreadable` puts them into words.
"""

import codecs
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from ucuie.errors import TextError, did_you_mean, show
from ucuie.extract.result import Extraction
from ucuie.files import line_end_fault, utf16_fault
from ucuie.schema import Dropped, Record

Kind = Literal["json", "line", "row", "file"]
PLAIN_SUFFIX = ".txt"
JSON_SUFFIXES = (".jsonl", ".ndjson")
PARQUET_SUFFIX = ".parquet"
SEPARATORS = {".csv": ",", ".tsv": "\t"}
TABLE_SUFFIXES = (*SEPARATORS, PARQUET_SUFFIX)
_REST_BYTES = 2**16
"""Taken at once of a line that is too long."""
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
            is_cut = error.pos >= len(raw.rstrip())
            hint = "; the line ends there, and has to hold a whole object" if is_cut else ""
            raise TextError(f"not JSON: {error.msg}{hint}") from None
        except RecursionError:
            raise TextError("not JSON: nested too deeply") from None
        except ValueError as error:  # an integer of more digits than Python reads
            raise TextError(f"not JSON: {error}") from None
        if not isinstance(value, dict):
            hint = "; write each item of a list on a line of its own" if isinstance(value, list) else ""
            raise TextError(f'not an object with "{columns.text}": {show(value)}{hint}')
        if columns.text not in value:
            raise TextError(f'"{columns.text}" is missing{did_you_mean(columns.text, value)}')
        text, text_id = value[columns.text], value.get(columns.id)
        if not isinstance(text, str):
            raise TextError(f'"{columns.text}" is not a string: {show(text)}')
        if not isinstance(text_id, str | int | float | None) or isinstance(text_id, bool):
            raise TextError(f'"{columns.id}" is neither a string nor a number: {show(text_id)}')
        return Text(id_of(text_id) or self.name, text, value.get("elements"))


def id_of(value: object) -> str | None:
    """An id as a string, None where there is none; whole numbers among missing ones are floats in pandas."""
    if value in (None, "", b"") or value != value:
        return None
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


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


def kind_of(name: str) -> tuple[str, str | None]:
    """The suffix of a file in lower case, without that of a compression, and the compression."""
    suffixes = ["", *PurePosixPath(name.lower()).suffixes]
    if suffixes[-1] in (*JSON_SUFFIXES, PLAIN_SUFFIX, *TABLE_SUFFIXES):
        return suffixes[-1], None
    from fsspec.utils import infer_compression

    compression = infer_compression(name)
    return suffixes[-2 if compression else -1], compression


def begin(lines: "io.BufferedReader[Any]") -> None:
    """Goes to the first character of a file of lines, past a byte order mark.

    Raises:
        ValueError: they cannot be read as lines of UTF-8; says what to do.
    """
    head = lines.peek()
    if fault := utf16_fault(head) or line_end_fault(head):
        raise ValueError(fault)
    if head.startswith(codecs.BOM_UTF8):
        lines.read(len(codecs.BOM_UTF8))


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
