"""Unified JSONL as a sequence: an index knows where each line starts, examples are parsed when asked for.

The first pass over a file validates every line and keeps 25 bytes of each. The index is cached under the
hash of the file's content, so a file that did not change, or only moved, is not read line by line again.
"""

import json
import logging
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import file_digest
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ucuie.data.examples import HINT
from ucuie.data.leaks import Fingerprints, fingerprint
from ucuie.data.sources import COMPRESSION
from ucuie.errors import DataError, validation_faults
from ucuie.files import cache_folder
from ucuie.schema import SPLITS, Example, Schema, Split

logger = logging.getLogger(__name__)

_FORMAT = "index-1"
"""Part of the cache's file names; another one for every change of what an index or an example holds."""


@dataclass(frozen=True, eq=False)
class IndexedFile:
    """The examples of a JSONL file by number.

    Args:
        path: of the file.
        starts: offset of each example's line in bytes, (N,).
        ends: offset behind it, (N,).
        splits: place of its split in `SPLITS`, (N,).
        fingerprints: of its text, (N,).
    """

    path: Path
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    splits: NDArray[np.uint8]
    fingerprints: Fingerprints

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, number: int) -> Example:
        """The example, read from the file.

        Raises:
            DataError: the file is another one than the one that was indexed.
        """
        start, end = int(self.starts[number]), int(self.ends[number])
        # Opened anew each time: a handle would neither survive pickling nor be safe to share after a fork.
        with self.path.open("rb", buffering=0) as file:
            file.seek(start)
            line = file.read(end - start)
        try:
            return parse_again(line)
        except (TypeError, ValueError):
            fault = f"byte {start}   no example is there now"
            raise DataError(str(self.path), [fault], "the file was changed while it was in use") from None

    def numbers_of(self, split: Split) -> NDArray[np.int64]:
        """The numbers of the examples of a split."""
        return np.flatnonzero(self.splits == SPLITS.index(split))


def index_file(path: Path) -> IndexedFile:
    """The index of a JSONL file, from the cache or from a first pass over the file.

    Raises:
        DataError: lines are not examples; all of them, with their reasons. Or the file is compressed.
    """
    if path.suffix in COMPRESSION:
        raise DataError(str(path), ["it is compressed"], "unpack it: training reads lines in any order")
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    cached = cache_folder() / f"{digest}.{_FORMAT}.npz"
    try:
        # Opened here: of a damaged file numpy leaves the handle open.
        with cached.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return IndexedFile(path, **arrays)
    except (OSError, ValueError, TypeError, EOFError, BadZipFile):  # none yet, or a damaged one
        index = _index(path)
    try:
        _save(index, cached)
    except OSError as error:
        logger.warning("the index of %s cannot be cached: %s", path, error)
    return index


def parse_again(line: bytes) -> Example:
    """`Example.from_json` of a line that it has accepted before, with equal schemas read only once.

    A schema of a hundred frames takes ten times as long to read as the rest of its line.

    Raises:
        TypeError, ValueError: the line is no example.
    """
    # Inside JSON strings a quote has a backslash before it, so these are keys wherever they stand.
    before, _, rest = line.partition(b'"schema":')
    schema, records_key, after = rest.partition(b',"records":')
    try:
        parsed = _schema(schema)
    except ValidationError:  # the keys stand in another order, or with blanks between them
        return Example.from_json(line)
    return Example(schema=parsed, **json.loads(before + records_key.removeprefix(b",") + after))


@lru_cache(maxsize=256)
def _schema(plain: bytes) -> Schema:
    return Schema.model_validate_json(plain)


def _index(path: Path) -> IndexedFile:
    starts, ends, splits, fingerprints = array("q"), array("q"), array("B"), array("Q")
    faults = []
    for number, start, line in _numbered_lines(path):
        try:
            example = Example.from_json(line)
        except ValidationError as error:
            faults.append(f"{path.name} line {number}   {validation_faults(error)}")
            continue
        starts.append(start)
        ends.append(start + len(line))
        splits.append(SPLITS.index(example.split))
        fingerprints.append(fingerprint(example.text))
    if faults:
        raise DataError(str(path), faults, HINT)
    return IndexedFile(
        path,
        np.frombuffer(starts, np.int64),
        np.frombuffer(ends, np.int64),
        np.frombuffer(splits, np.uint8),
        np.frombuffer(fingerprints, np.uint64),
    )


def _numbered_lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """(number from 1, offset, line without its end) of each line that is not blank."""
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            mark = len(_BYTE_ORDER_MARK) if number == 1 and line.startswith(_BYTE_ORDER_MARK) else 0
            content = line[mark:].rstrip(b"\r\n")
            if content.strip():
                yield number, offset + mark, content
            offset += len(line)


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def _save(index: IndexedFile, cached: Path) -> None:
    """Writes the cached file whole or not at all."""
    cached.parent.mkdir(parents=True, exist_ok=True)
    staged = cached.with_name(f".{cached.name}.{os.getpid()}.part")
    try:
        with staged.open("wb") as file:
            np.savez(
                file,
                starts=index.starts,
                ends=index.ends,
                splits=index.splits,
                fingerprints=index.fingerprints,
            )
        staged.replace(cached)
    finally:
        staged.unlink(missing_ok=True)
