"""Unified JSONL files: one `Example` a line, read in order or by number, with every bad line named.

`read_examples` yields examples and raises all faults at the end; `scan_examples` yields both as they come.
An `IndexedFile` knows where each line starts, and parses an example when it is asked for. Fingerprints tell
which texts of two files are the same.
"""

import json
import unicodedata
from array import array
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ucuie.data.draft import Fault
from ucuie.data.sources import COMPRESSION, encoding_fault, read_lines
from ucuie.errors import DataError, validation_faults
from ucuie.files import staged_file
from ucuie.schema import SPLITS, Example, Schema, Split

_SPLIT_FILES = tuple(f"{split}.jsonl" for split in SPLITS)
HINT = (
    'one JSON object a line with "id", "task", "text", "schema" and "records"; '
    "`ucuie convert` writes it from other formats"
)


def read_examples(path: Path, *, split: Split | None = None) -> Iterator[Example]:
    """The examples of a JSONL file, or of a folder's: train, validation, test first, then others by name.

    Raises:
        DataError: after the last good example, if any line was bad: all bad lines, with their reasons.
    """
    faults = []
    for item in scan_examples(path, split=split):
        if isinstance(item, Fault):
            faults.append(str(item))
        else:
            yield item
    if faults:
        raise DataError(str(path), faults, HINT)


def scan_examples(path: Path, *, split: Split | None = None) -> Iterator[Example | Fault]:
    """What `read_examples` yields, with a fault in the place of each bad line.

    Raises:
        DataError: there is no such file.
    """
    for file in example_files(path, split=split):
        for place, line in read_lines(file):
            if not line.strip():
                continue
            try:
                example = Example.from_json(line)
            except ValidationError as error:
                yield Fault(place, encoding_fault(line) or validation_faults(error))
                continue
            if split is None or example.split == split:
                yield example


def example_files(path: Path, *, split: Split | None = None) -> list[Path]:
    """The JSONL files that a path stands for; of a folder with split files only the one of `split`."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(str(path), ["there is no such file or folder"], HINT)
    files = sorted(path.glob("*.jsonl"))
    if not files:
        raise DataError(str(path), ["there is no JSONL file in it"], HINT)
    if split is not None and path / f"{split}.jsonl" in files:
        return [path / f"{split}.jsonl"]
    order = {name: index for index, name in enumerate(_SPLIT_FILES)}
    return sorted(files, key=lambda file: order.get(file.name, len(order)))


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Writes a JSONL file, whole or not at all, and returns the number of lines."""
    count = 0
    with staged_file(path) as staged, staged.open("w", encoding="utf-8", newline="\n") as file:
        for count, example in enumerate(examples, start=1):  # noqa: B007  the last number is the count
            file.write(example.to_json() + "\n")
    return count


Fingerprints = NDArray[np.uint64]


def normalised_text(text: str) -> str:
    """What two copies of a text share whatever their tokenizer did: its letters and digits, case folded."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, folded)) or "".join(folded.split())


def fingerprint(text: str) -> int:
    """64 bits of a normalised text; two of a million texts share theirs with a chance of 1 in 37 million."""
    return fingerprint_normalised(normalised_text(text))


def fingerprint_normalised(text: str) -> int:
    """The fingerprint of a text that is normalised already."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class HeldOut:
    """The fingerprints of held-out splits, by names such as "casie/test"."""

    splits: Mapping[str, Fingerprints]

    def mask(self, texts: Fingerprints) -> NDArray[np.bool_]:
        """For each text whether it is held out, (N,)."""
        held_out = np.concatenate([np.empty(0, np.uint64), *self.splits.values()])
        return np.isin(texts, held_out)

    def counts(self, texts: Fingerprints) -> dict[str, int]:
        """Counts the texts that stand in each split, where any does; a text may stand in several."""
        found = {name: int(np.isin(texts, split).sum()) for name, split in self.splits.items()}
        return {name: count for name, count in found.items() if count}


@dataclass(frozen=True, eq=False)
class IndexedFile:
    """The examples of a JSONL file by number.

    Of each (N,): the offsets in bytes where its line starts and ends, the place of its split in `SPLITS`, and
    the fingerprint of its text.
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
    """The index of a JSONL file, from one pass over it, in which every line is validated.

    Raises:
        DataError: lines are not examples; all of them, with their reasons. Or the file is compressed.
    """
    if path.suffix in COMPRESSION:
        raise DataError(str(path), ["it is compressed"], "unpack it: training reads lines in any order")
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
        starts=np.array(starts, np.int64),
        ends=np.array(ends, np.int64),
        splits=np.array(splits, np.uint8),
        fingerprints=np.array(fingerprints, np.uint64),
    )


def _numbered_lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """(number from 1, offset, line without its end) of each line that is not blank."""
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            mark = len(BOM_UTF8) if number == 1 and line.startswith(BOM_UTF8) else 0
            content = line[mark:].rstrip(b"\r\n")
            if content.strip():
                yield number, offset + mark, content
            offset += len(line)


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
