"""Raw files as the readers see them: numbered lines and JSON values, whatever they are packed in.

A file may lie there compressed (`train.json.xz` for `train.json`) or in an archive
(`corpus.tar.gz/folder/train.txt`). Lines end at LF alone: some corpora hold other line
separators inside their texts. A byte that is not UTF-8 becomes a lone surrogate (Python's
`surrogateescape`), so that one such line costs its example alone; `encoding_fault` finds it.
A file that is missing, cannot be read or unpacked, or is no JSON, is a DataError.
"""

import bz2
import gzip
import io
import json
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from ucuie.data.draft import Fault
from ucuie.errors import DataError, did_you_mean, show
from ucuie.files import line_end_fault, utf16_fault

COMPRESSION: dict[str, Callable[[Path, str], Any]] = {".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}

_DAMAGE = (OSError, EOFError, lzma.LZMAError, zlib.error, tarfile.TarError, zipfile.BadZipFile)
"""What Python raises for files that cannot be read or unpacked."""

_HEAD_BYTES = 2**13
"""The beginning of a file, which tells its encoding and the ends of its lines."""
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


def find_source(folder: Path, name: str) -> Path:
    """The path of a raw file, which may be compressed or inside an archive."""
    for suffix in ("", *COMPRESSION):
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return path
    archive = _archive_of(folder / name)
    if archive is not None and folder / name in archive_members(archive):
        return folder / name
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    raise DataError(str(folder), [f"{name} is not there{did_you_mean(name, there)}"])


def read_text(path: Path, *, encoding: str = "utf-8-sig") -> str:
    """The whole text of a file, decoded as UTF-8, in its encoding "utf-8-sig" without a byte order mark."""
    with _opened(path) as stream:
        return stream.read().decode(encoding, errors="surrogateescape")


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """(place, line) of every line: the name of the file with the line's number, the line without its end."""
    with _opened(path) as stream:
        if fault := line_end_fault(stream.read(_HEAD_BYTES)):
            raise DataError(str(path), [fault])
        stream.seek(0)
        for number, line in enumerate(stream, start=1):
            encoding = "utf-8-sig" if number == 1 else "utf-8"
            text = line.decode(encoding, errors="surrogateescape").rstrip("\r\n")
            yield f"{path.name} line {number}", text


def read_blocks(path: Path) -> Iterator[list[tuple[str, str]]]:
    """The lines of `read_lines` that stand together, without the blank ones between them."""
    for has_text, lines in groupby(read_lines(path), key=lambda line: bool(line[1].strip())):
        if has_text:
            yield list(lines)


def encoding_fault(text: str) -> str | None:
    """The fault of a text from a file with bytes that are not UTF-8; None of any other text."""
    escaped = _ESCAPED_BYTE.search(text)
    if escaped is None:
        return None
    return f"not UTF-8: byte 0x{ord(escaped[0]) - 0xDC00:02x} after {show(text[: escaped.start()][-20:])}"


def read_json_lines(path: Path) -> Iterator[tuple[str, Any] | Fault]:
    """(place, value) for each line that holds a JSON value, a fault for each line that does not."""
    for place, line in read_lines(path):
        if not line.strip():
            continue
        if fault := encoding_fault(line):
            yield Fault(place, fault)
            continue
        try:
            yield place, json.loads(line)
        except json.JSONDecodeError as error:
            yield Fault(place, f"not JSON: {error.msg} at column {error.colno}")
        except (ValueError, RecursionError) as error:  # a number of thousands of digits, a thousand brackets
            yield Fault(place, f"not JSON that can be read: {error}")


def read_json(path: Path) -> Any:
    """The JSON value a file holds."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(str(path), [f"line {error.lineno}   not JSON: {error.msg}"]) from None
    except (ValueError, RecursionError) as error:
        raise DataError(str(path), [f"not JSON that can be read: {error}"]) from None


def read_json_items(path: Path) -> Iterator[tuple[str, Any] | Fault]:
    """(place, value) for each item of a JSON list, or of each JSON line: the file's first byte tells."""
    with _opened(path) as stream:
        is_list = stream.read(64).decode("utf-8", errors="replace").lstrip("\ufeff \r\n\t").startswith("[")
    if not is_list:
        yield from read_json_lines(path)
        return
    is_damaged = encoding_fault(read_text(path)) is not None
    for index, value in enumerate(read_json(path)):
        place = f"{path.name} item {index + 1}"
        fault = encoding_fault(json.dumps(value, ensure_ascii=False)) if is_damaged else None
        yield Fault(place, fault) if fault else (place, value)


def archive_members(path: Path, suffix: str = "") -> list[Path]:
    """The files of an archive in name order, as paths that the functions of this module read."""
    return [path / name for name in sorted(_archive_contents(path)) if name.endswith(suffix)]


def _archive_of(path: Path) -> Path | None:
    """The archive file that the path leads into, if any."""
    return next((parent for parent in path.parents if parent.is_file()), None)


@lru_cache(maxsize=1)  # readers take the members of one archive in turn
def _archive_contents(path: Path) -> dict[str, bytes]:
    with _damage_named(path):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
        with tarfile.open(path) as archive:
            files = [(member.name, archive.extractfile(member)) for member in archive if member.isfile()]
            return {name.removeprefix("./"): stream.read() for name, stream in files if stream is not None}


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with _damage_named(path):
        archive = _archive_of(path)
        if archive is not None:
            yield io.BytesIO(_archive_contents(archive)[path.relative_to(archive).as_posix()])
            return
        with COMPRESSION.get(path.suffix, Path.open)(path, "rb") as stream:
            if fault := utf16_fault(stream.read(_HEAD_BYTES)):
                raise DataError(str(path), [fault])
            stream.seek(0)
            yield stream


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Makes a DataError of what Python raises for a file that is damaged or cannot be read."""
    try:
        yield
    except _DAMAGE as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = next(iter(said.splitlines()), type(error).__name__)
        raise DataError(str(path), [f"it cannot be read: {reason}"]) from None
