"""Files of texts to extract from: JSON Lines with "text", perhaps "id" and "elements", or a text a line.

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
HINT = 'one JSON object a line with "text" and perhaps "id"; of a .txt file every line is a text'


@dataclass(frozen=True)
class Line:
    """A usable line of a file; `id` is the line's own or else its number, `elements` as they stand there."""

    number: int
    id: str
    text: str
    raw: str
    elements: Any = None


@dataclass(frozen=True)
class BadLine:
    """A line that holds no usable text, and why."""

    number: int
    raw: str
    reason: str


@dataclass(frozen=True)
class TextFile:
    """Every line of a file that is not blank, and the name that messages call the file by."""

    name: str
    lines: tuple[Line | BadLine, ...]


def read_texts(path: Path) -> TextFile:
    """The texts of a file; "-" is standard input.

    Standard input is plain text if its first line does not begin with a brace.

    Raises:
        DataError: the file is not there, is not UTF-8, or holds nothing.
    """
    is_stdin = str(path) == STDIN
    name = "standard input" if is_stdin else path.name
    try:
        content = (sys.stdin.buffer.read() if is_stdin else path.read_bytes()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(name, [f"byte {error.start}   not UTF-8"], "save the file as UTF-8") from None
    except OSError as error:
        raise DataError(str(path), [error.strerror or str(error)], HINT) from None
    is_plain = not content.lstrip().startswith("{") if is_stdin else path.suffix == PLAIN_SUFFIX
    lines = tuple(_lines(content, is_plain=is_plain))
    if not lines:
        raise DataError(name, ["there is no text in it"], HINT)
    return TextFile(name, lines)


def _lines(content: str, *, is_plain: bool) -> Iterator[Line | BadLine]:
    # Lines end at LF alone: texts may hold other separators.
    for number, raw in enumerate(content.split("\n"), start=1):
        raw = raw.removesuffix("\r")
        if not raw.strip():
            continue
        yield Line(number, str(number), raw, raw) if is_plain else _read_object(number, raw)


def write_rejected(path: Path, bad_lines: Sequence[BadLine]) -> None:
    """Lists bad lines with their reasons, in a form that can be repaired and read again."""
    write_text(
        path,
        "".join(
            json.dumps({"line": bad.number, "reason": bad.reason, "raw": bad.raw}, ensure_ascii=False) + "\n"
            for bad in bad_lines
        ),
    )


def _read_object(number: int, raw: str) -> Line | BadLine:
    try:
        value = json.loads(raw)
    except (json.JSONDecodeError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        return BadLine(number, raw, f"not JSON: {reason}")
    if not isinstance(value, dict):
        return BadLine(number, raw, f'not an object with "text": {show(value)}')
    if "text" not in value:
        return BadLine(number, raw, f'"text" is missing{did_you_mean("text", value)}')
    text, text_id = value["text"], value.get("id", number)
    if not isinstance(text, str):
        return BadLine(number, raw, f'"text" is not a string: {show(text)}')
    if not isinstance(text_id, str | int) or isinstance(text_id, bool):
        return BadLine(number, raw, f'"id" is neither a string nor a number: {show(text_id)}')
    return Line(number, str(text_id), text, raw, value.get("elements"))
