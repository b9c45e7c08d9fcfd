"""A row: one text of the input as it stands in its file, how it is read, and what becomes of it."""

import json
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from ucuie.errors import TextError, did_you_mean, show
from ucuie.extract.result import Extraction
from ucuie.schema import Dropped, Record

Kind = Literal["json", "line", "row", "file"]
_MOST_BYTES_PER_CHARACTER = 12
"""As JSON may write one: two escaped surrogates."""
_BYTES_BESIDE_TEXT = 65_536
"""Of a row."""


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
