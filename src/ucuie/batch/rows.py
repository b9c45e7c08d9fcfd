"""A row: one text of the input as it stands in its file, and what becomes of it in the output."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from ucuie.batch.texts import BadLine, Line, not_utf8, read_object
from ucuie.extract.result import Extraction
from ucuie.schema import Dropped, Record

_MOST_BYTES_PER_CHARACTER = 12
"""As JSON may write one: two escaped surrogates."""
_BYTES_BESIDE_TEXT = 65_536
"""Of a row."""


@dataclass(frozen=True)
class Columns:
    """Where texts are in a row, and how long they may be.

    Args:
        text: key or column of the text.
        id: of the id; a row without one is called by its file and number.
        max_characters: a longer text is not read.
    """

    text: str = "text"
    id: str = "id"
    max_characters: int = 1_000_000

    @property
    def max_bytes(self) -> int:
        """A longer row is not even loaded."""
        return _MOST_BYTES_PER_CHARACTER * self.max_characters + _BYTES_BESIDE_TEXT


@dataclass(frozen=True)
class Row:
    """One text of the input, unread.

    Args:
        file: its file, as a path in the input.
        number: of the line, or of the row of a table, from 1; 1 where the file is the text.
        raw: a line of JSON, or the text itself, in UTF-8 if all is well.
        is_json: which of the two.
        id: of a text that is no JSON; None takes file and number.
        fault: why it cannot be read, where that is known already.
    """

    file: str
    number: int
    raw: bytes
    is_json: bool = False
    id: str | None = None
    fault: str | None = None

    @property
    def name(self) -> str:
        """The id of a row that has none of its own."""
        return f"{self.file}:{self.number}"

    def read(self, columns: Columns) -> Line | BadLine:
        """The text, or why there is none."""
        if self.fault is not None:
            return BadLine(self.number, "", self.fault, self.file)
        try:
            raw = self.raw.decode()
        except UnicodeDecodeError as error:
            return BadLine(self.number, "", not_utf8(error), self.file)
        if not self.is_json:
            line: Line | BadLine = Line(self.number, self.id or self.name, raw, "", file=self.file)
        else:
            line = read_object(
                self.number, raw, text_key=columns.text, id_key=columns.id, default_id=self.name
            )
        if isinstance(line, Line) and len(line.text) > columns.max_characters:
            return line.bad(too_long(f"{len(line.text):,} characters", columns))
        return line


def too_long(size: str, columns: Columns) -> str:
    """What is said of a text that is too long."""
    return (
        f"the text has {size}, the limit is {columns.max_characters:,} characters; --max-characters sets it"
    )


class OutputRow(BaseModel):
    """What becomes of a row: its extraction, or the error why there is none.

    Args:
        id: of the text; its file and number where it has none or cannot be read.
        file: of the input.
        row: the number in that file.
        text: None where there is an error.
        records: as those of an `Extraction`; empty where there is an error.
        dropped: likewise.
        truncated: likewise.
        model: that was asked.
        seconds: likewise.
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
        return cls(
            id=extraction.id,
            file=row.file,
            row=row.number,
            text=extraction.text,
            records=extraction.records,
            dropped=extraction.dropped,
            truncated=extraction.truncated,
            model=extraction.model,
            seconds=extraction.seconds,
        )

    @classmethod
    def failed(cls, row: Row, error: str, *, model: str, id: str | None = None) -> "OutputRow":  # noqa: A002
        """A row without an answer; an id that cannot be written is left out too."""
        named = id or row.id or ""
        is_usable = named and named.isprintable()
        return cls(
            id=named if is_usable else row.name, file=row.file, row=row.number, model=model, error=error
        )

    @classmethod
    def rejection(cls, line: Mapping[str, Any]) -> dict[str, Any] | None:
        """Of a row as plain types, what a list of errors says of it; None if it was answered."""
        if line["error"] is None:
            return None
        return {name: line[name] for name in ("file", "row", "id", "error")}
