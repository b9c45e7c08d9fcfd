"""Files of texts to extract from: JSON Lines with "text", perhaps "id" and "elements", tables, plain text.

A file is read as a whole before any work, so all bad lines are told at once and nothing is half done.
"""

import codecs
import io
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ucuie.batch.table_rows import (
    PARQUET_SUFFIX,
    SEPARATORS,
    SUFFIXES,
    TableRow,
    missing_column,
    parquet_table,
    require_parquet,
    separated_table,
    unreadable,
)
from ucuie.errors import DataError, did_you_mean, show
from ucuie.files import write_text

STDIN = "-"
PLAIN_SUFFIX = ".txt"
JSON_LINES_SUFFIX = ".jsonl"
HINT = (
    'one JSON object a line with "text" and perhaps "id"; such columns in a .parquet, .csv or .tsv table; '
    "of a .txt file every line is a text"
)
FOLDER_HINT = "a folder of documents holds .txt files"
Unit = Literal["line", "row"]


@dataclass(frozen=True)
class Line:
    """A usable text: a line of a file, a row of a table, or a whole file.

    Args:
        number: of the line or the row, or of the file in its folder.
        id: the line's own or else its number; of a file its path in the folder.
        text: to extract from.
        raw: the line as it stands in the file; of a row its text.
        elements: as they stand there.
        file: the path in the folder, where the text is a whole file.
        unit: which of them is numbered.
    """

    number: int
    id: str
    text: str
    raw: str
    elements: Any = None
    file: str | None = None
    unit: Unit = "line"

    def bad(self, reason: str) -> "BadLine":
        """The line as one that cannot be used after all."""
        return BadLine(self.number, self.raw, reason, self.file, self.unit)


@dataclass(frozen=True)
class BadLine:
    """A line, a row or a whole file that holds no usable text, and why."""

    number: int
    raw: str
    reason: str
    file: str | None = None
    unit: Unit = "line"

    @property
    def place(self) -> str:
        """What messages call it."""
        return f"{self.unit} {self.number}" if self.file is None else self.file


@dataclass(frozen=True)
class TextFile:
    """Every line that is not blank, row of a table or file of a folder, and the name that messages use."""

    name: str
    lines: tuple[Line | BadLine, ...]

    @property
    def description(self) -> str:
        """What messages say that faults are in."""
        if len(self.lines) == 1:
            return self.name
        unit = self.lines[0].unit if self.lines[0].file is None else "file"
        return f"the {len(self.lines):,} {unit}s of {self.name}"


def read_texts(path: Path, *, text_column: str = "text", id_column: str = "id") -> TextFile:
    """The texts of a file; "-" is standard input.

    Standard input is plain text if its first line does not begin with a brace.

    Args:
        path: of the file.
        text_column: column of a table, or key of JSON Lines, where the text is.
        id_column: where its id is.

    Raises:
        DataError: the file is not there, is not UTF-8, is a broken table or one without that column, or
            holds nothing.
        MissingExtraError: it is Parquet, and pyarrow is not installed.
    """
    name = _name(path)
    if path.suffix in SUFFIXES:
        lines = tuple(_rows(path, text_column, id_column))
    else:
        content = _content(path)
        is_stdin = str(path) == STDIN
        is_plain = not content.lstrip().startswith("{") if is_stdin else path.suffix == PLAIN_SUFFIX
        lines = tuple(
            Line(number, str(number), raw, raw)
            if is_plain
            else read_object(number, raw, text_key=text_column, id_key=id_column)
            for number, raw in _lines(content)
        )
    if not lines:
        raise DataError(name, ["there is no text in it"], HINT)
    return TextFile(name, lines)


def read_documents(path: Path) -> TextFile:
    """The whole content of a file as one text; of a folder, that of every .txt file below it.

    Raises:
        DataError: the file is not there, is not UTF-8, or is a table or one of JSON Lines; the folder holds
            no .txt file. Files of a folder that cannot be read are bad lines.
    """
    if path.is_dir():
        files = sorted(path.rglob(f"*{PLAIN_SUFFIX}"))
        if not files:
            raise DataError(str(path), [f"there is no {PLAIN_SUFFIX} file in it"], FOLDER_HINT)
        return TextFile(
            str(path), tuple(_document(path, file, number) for number, file in enumerate(files, start=1))
        )
    if path.suffix == JSON_LINES_SUFFIX:
        raise DataError(path.name, ["each line of JSON Lines is a document already"], "leave --document out")
    if path.suffix in SUFFIXES:
        raise DataError(path.name, ["each row of a table is a document already"], "leave --document out")
    name, content = _name(path), _content(path)
    return TextFile(name, (Line(1, "1" if str(path) == STDIN else name, content, content, file=name),))


def _document(folder: Path, path: Path, number: int) -> Line | BadLine:
    name = path.relative_to(folder).as_posix()
    try:
        content = _content(path)
    except DataError as error:
        return BadLine(number, "", error.faults[0], name)
    return Line(number, name, content, content, file=name)


def _name(path: Path) -> str:
    return "standard input" if str(path) == STDIN else path.name


def _bytes(path: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(path) == STDIN else path.read_bytes()
    except OSError as error:
        raise DataError(str(path), [error.strerror or str(error)], HINT) from None


def _content(path: Path) -> str:
    try:
        return _bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(_name(path), [not_utf8(error)], "save the file as UTF-8") from None


def _lines(content: str) -> Iterator[tuple[int, str]]:
    """The number and content of each line that is not blank."""
    # Lines end at LF alone: texts may hold other separators.
    for number, raw in enumerate(content.split("\n"), start=1):
        raw = raw.removesuffix("\r")
        if raw.strip():
            yield number, raw


def _rows(path: Path, text_column: str, id_column: str) -> list[Line | BadLine]:
    if path.suffix == PARQUET_SUFFIX:
        require_parquet()
    content = _bytes(path)
    lines: list[Line | BadLine] = []
    try:
        if path.suffix == PARQUET_SUFFIX:
            table = parquet_table(io.BytesIO(content), text_column=text_column, id_column=id_column)
        else:
            table = separated_table(
                io.BytesIO(content.removeprefix(codecs.BOM_UTF8)),
                SEPARATORS[path.suffix],
                text_column=text_column,
                id_column=id_column,
            )
        lines.extend(map(_table_line, table.rows))
    except Exception as error:  # of the table's reader, one of many classes
        num_read = lines[-1].number if lines else 0
        fault = unreadable(num_read, error)
        raise DataError(path.name, [fault], "nothing was written; save the file anew") from None
    if table.names and text_column not in table.names:
        fault = missing_column(text_column, table.names)
        raise DataError(path.name, [fault], "--text-column names the column of the texts")
    return lines


def _table_line(row: TableRow) -> Line | BadLine:
    if row.fault is not None:
        return BadLine(row.number, "", row.fault, unit="row")
    try:
        text = row.text.decode()
    except UnicodeDecodeError as error:
        return BadLine(row.number, "", not_utf8(error), unit="row")
    return Line(row.number, row.id or str(row.number), text, text, unit="row")


def not_utf8(error: UnicodeDecodeError) -> str:
    """What is said of bytes that are no text."""
    return f"byte {error.start}   not UTF-8"


def write_rejected(path: Path, bad_lines: Sequence[BadLine]) -> None:
    """Lists bad lines with their reasons, in a form that can be repaired and read again."""
    write_text(
        path,
        "".join(json.dumps(_rejection(bad), ensure_ascii=False) + "\n" for bad in bad_lines),
    )


def _rejection(bad: BadLine) -> dict[str, Any]:
    if bad.file is not None:
        return {"file": bad.file, "reason": bad.reason}
    return {bad.unit: bad.number, "reason": bad.reason, "raw": bad.raw}


def read_object(
    number: int,
    raw: str,
    *,
    text_key: str = "text",
    id_key: str = "id",
    default_id: str | None = None,
) -> Line | BadLine:
    """The text of a line of JSON Lines.

    Args:
        number: of the line.
        raw: the line.
        text_key: where its text is.
        id_key: where its id is, a string or a number.
        default_id: of a line without one; None takes the number.
    """
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        return BadLine(number, raw, f"not JSON: {_reason(error)}")
    if not isinstance(value, dict):
        return BadLine(number, raw, f'not an object with "{text_key}": {show(value)}')
    if text_key not in value:
        return BadLine(number, raw, f'"{text_key}" is missing{did_you_mean(text_key, value)}')
    text, text_id = value[text_key], value.get(id_key, number if default_id is None else default_id)
    if not isinstance(text, str):
        return BadLine(number, raw, f'"{text_key}" is not a string: {show(text)}')
    if not isinstance(text_id, str | int) or isinstance(text_id, bool):
        return BadLine(number, raw, f'"{id_key}" is neither a string nor a number: {show(text_id)}')
    return Line(number, str(text_id), text, raw, value.get("elements"))


def _reason(error: ValueError | RecursionError) -> str:
    match error:
        case json.JSONDecodeError():
            return error.msg
        case RecursionError():
            return "nested too deeply"
        case _:
            # An integer of more digits than Python reads.
            return str(error)
