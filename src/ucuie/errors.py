"""Every error the package raises on purpose, with what went wrong, the value and what to do.

A `UserError` is the user's mistake (a schema, a file, an option); the command turns it into exit
code 2. Every class keeps its state in plain attributes, so errors survive pickling between processes.
"""

import errno
import os
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from pydantic import ValidationError

MAX_VALUE_LENGTH = 80
MAX_LISTED_FAULTS = 20


class UcuieError(Exception):
    """Base class: `except UcuieError` catches all that the package raises on purpose."""

    kind: ClassVar[str] = "error"
    """The command's name for it, before the message."""


class UserError(UcuieError):
    """The input is at fault, not the program."""


class SchemaError(UserError):
    """A schema cannot be read, contradicts itself, or is larger than the model's context."""

    kind = "schema error"


class ConfigError(UserError):
    """A configuration has an unknown key or an impossible value."""

    kind = "config error"


class ModelError(UserError):
    """A model folder is missing, incomplete, damaged or made for another backbone."""

    kind = "model error"


class TextError(UserError):
    """A text cannot be processed: it is empty or not encodable."""

    kind = "text error"


class StorageError(UserError):
    """A file or folder cannot be read or written: no room, no permission, another thing in its place."""

    kind = "storage error"


class FullDiskError(StorageError):
    """There is no room for what is to be written."""


class MissingExtraError(UserError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(package, extra)
        self.package = package
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.package} is not installed; get it with: pip install 'ucuie[{self.extra}]'"


def needs(module: str, extra: str) -> Any:
    """The module of an optional dependency.

    Raises:
        MissingExtraError: it is not installed, or does not import.
    """
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtraError(module.partition(".")[0].replace("_", "-"), extra) from None


class DataError(UserError):
    """One or more faults in data, all of them at once.

    Args:
        source: the file or folder that has them.
        faults: one line each, with the place (`line 17   "text" is missing`).
        hint: the way out.
    """

    kind = "data error"

    def __init__(self, source: str, faults: Sequence[str], hint: str = "") -> None:
        super().__init__(source, tuple(faults), hint)
        self.source = source
        self.faults = tuple(faults)
        self.hint = hint

    def __str__(self) -> str:
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults):,} faults"
        lines = [f"{count} in {self.source}"]
        lines += listed([f"  {fault}" for fault in self.faults])
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)


def listed(lines: Sequence[str]) -> list[str]:
    """As many lines as a message lists, and how many more there are."""
    more = [f"  ... and {len(lines) - MAX_LISTED_FAULTS:,} more"] if len(lines) > MAX_LISTED_FAULTS else []
    return [*lines[:MAX_LISTED_FAULTS], *more]


_NO_ROOM = "make room, or name a place on another disk"
_ADVICE = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: _NO_ROOM,
    errno.EACCES: "name another place, or have its permissions changed",
    errno.EROFS: "name a place that can be written to",
    errno.EEXIST: "name another place, or move away what is there",
    errno.EISDIR: "name a file",
    errno.ENOTDIR: "name another place; a part of the path is a file",
    errno.ENAMETOOLONG: "name a shorter one",
}
# Libraries in Rust and torch put the system's error into words; torch says as little as this.
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_TORCH_WRITER = re.compile(r"inline_container\.cc.* unexpected pos|basic_ios::clear: iostream error")


def contained(error: BaseException) -> Exception:
    """An error that others can go on after; a panic of an extension in Rust, which is no Exception, as one.

    Raises:
        BaseException: the error itself, where it is meant to end the program.
    """
    if isinstance(error, Exception):
        return error
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        raise error
    return RuntimeError(f"{type(error).__name__}: {error}")


def storage_error(error: BaseException) -> StorageError | None:
    """The fault of a disk or a path behind an error of any library, in words; None: there is none."""
    if isinstance(error, OSError):
        number, place = error.errno, error.filename2 or error.filename
    elif found := _OS_ERROR.search(str(error)):
        number, place = int(found[1]), None
    elif _TORCH_WRITER.search(str(error)):
        return FullDiskError(f"a file cannot be written to its end; {_NO_ROOM}")
    else:
        return None
    if number not in _ADVICE:
        return None
    what = "a file" if place is None else show(os.fspath(place) if isinstance(place, os.PathLike) else place)
    kind = FullDiskError if _ADVICE[number] == _NO_ROOM else StorageError
    return kind(f"{what} cannot be read or written: {os.strerror(number)}; {_ADVICE[number]}")


def show(value: object) -> str:
    """A value as it stands in an error message: quoted, cut to 80 characters, always printable."""
    text = repr(value)
    return text if len(text) <= MAX_VALUE_LENGTH else text[: MAX_VALUE_LENGTH - 3] + "..."


_STEERING = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal may obey, marks that turn the direction of a text among it; not tabs and line breaks."""


def visible(text: str) -> str:
    """A text that cannot steer a terminal: what could is written as JSON would, so JSON stays the same."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def validation_faults(error: "ValidationError", *, separator: str = "; ") -> str:
    """All that pydantic found: where, and what; no value, which may be long or a secret."""
    faults = ((fault["loc"], fault["msg"].removeprefix("Value error, ")) for fault in error.errors())
    return separator.join(": ".join(filter(None, (".".join(map(str, loc)), msg))) for loc, msg in faults)


def did_you_mean(value: str, choices: Iterable[str]) -> str:
    """The end of an unknown-name message: the nearest choice if there is one, then all choices."""
    choices = list(choices)
    nearest = get_close_matches(value, choices, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    listed = ", ".join(map(repr, choices[:MAX_LISTED_FAULTS]))
    more = ", ..." if len(choices) > MAX_LISTED_FAULTS else ""
    return f"{hint} (choices: {listed}{more})" if choices else hint
