"""Files of texts to extract from: JSON Lines with "text", perhaps "id" and "elements", a text a line, or one.

A file is read as a whole before any work, so all bad lines are told at once and nothing is half done.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ucuie.atomic import write_text
from ucuie.errors import DataError, did_you_mean, show

STDIN = "-"
PLAIN_SUFFIX = ".txt"
JSON_LINES_SUFFIX = ".jsonl"
HINT = 'one JSON object a line with "text" and perhaps "id"; of a .txt file every line is a text'
FOLDER_HINT = "a folder of documents holds .txt files"


@dataclass(frozen=True)
class Line:
    """A usable text: a line of a file, or a whole one.

    Args:
        number: of the line, or of the file in its folder.
        id: the line's own or else its number; of a file its path in the folder.
        text: to extract from.
        raw: the line as it stands in the file.
        elements: as they stand there.
        file: the path in the folder, where the text is a whole file.
    """

    number: int
    id: str
    text: str
    raw: str
    elements: Any = None
    file: str | None = None

    def bad(self, reason: str) -> "BadLine":
        """The line as one that cannot be used after all."""
        return BadLine(self.number, self.raw, reason, self.file)


@dataclass(frozen=True)
class BadLine:
    """A line, or a whole file, that holds no usable text, and why."""

    number: int
    raw: str
    reason: str
    file: str | None = None

    @property
    def place(self) -> str:
        """What messages call it."""
        return f"line {self.number}" if self.file is None else self.file


@dataclass(frozen=True)
class TextFile:
    """Every line of a file that is not blank, or every file of a folder, and the name that messages use."""

    name: str
    lines: tuple[Line | BadLine, ...]

    @property
    def description(self) -> str:
        """What messages say that faults are in."""
        if len(self.lines) == 1:
            return self.name
        unit = "lines" if self.lines[0].file is None else "files"
        return f"the {len(self.lines):,} {unit} of {self.name}"


def read_texts(path: Path) -> TextFile:
    """The texts of a file; "-" is standard input.

    Standard input is plain text if its first line does not begin with a brace.

    Raises:
        DataError: the file is not there, is not UTF-8, or holds nothing.
    """
    is_stdin = str(path) == STDIN
    name, content = _named_content(path)
    is_plain = not content.lstrip().startswith("{") if is_stdin else path.suffix == PLAIN_SUFFIX
    lines = tuple(_lines(content, is_plain=is_plain))
    if not lines:
        raise DataError(name, ["there is no text in it"], HINT)
    return TextFile(name, lines)


def read_documents(path: Path) -> TextFile:
    """The whole content of a file as one text; of a folder, that of every .txt file below it.

    Raises:
        DataError: the file is not there, is not UTF-8, or is one of JSON Lines; the folder holds no .txt
            file. Files of a folder that cannot be read are bad lines.
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
    name, content = _named_content(path)
    return TextFile(name, (Line(1, "1" if str(path) == STDIN else name, content, content, file=name),))


def _document(folder: Path, path: Path, number: int) -> Line | BadLine:
    name = path.relative_to(folder).as_posix()
    try:
        _, content = _named_content(path)
    except DataError as error:
        return BadLine(number, "", error.faults[0], name)
    return Line(number, name, content, content, file=name)


def _named_content(path: Path) -> tuple[str, str]:
    is_stdin = str(path) == STDIN
    name = "standard input" if is_stdin else path.name
    try:
        content = (sys.stdin.buffer.read() if is_stdin else path.read_bytes()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(name, [f"byte {error.start}   not UTF-8"], "save the file as UTF-8") from None
    except OSError as error:
        raise DataError(str(path), [error.strerror or str(error)], HINT) from None
    return name, content


def _lines(content: str, *, is_plain: bool) -> Iterator[Line | BadLine]:
    # Lines end at LF alone: texts may hold other separators.
    for number, raw in enumerate(content.split("\n"), start=1):
        raw = raw.removesuffix("\r")
        if not raw.strip():
            continue
        yield Line(number, str(number), raw, raw) if is_plain else read_object(number, raw)


def write_rejected(path: Path, bad_lines: Sequence[BadLine]) -> None:
    """Lists bad lines with their reasons, in a form that can be repaired and read again."""
    write_text(
        path,
        "".join(json.dumps(_rejection(bad), ensure_ascii=False) + "\n" for bad in bad_lines),
    )


def _rejection(bad: BadLine) -> dict[str, Any]:
    if bad.file is not None:
        return {"file": bad.file, "reason": bad.reason}
    return {"line": bad.number, "reason": bad.reason, "raw": bad.raw}


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
