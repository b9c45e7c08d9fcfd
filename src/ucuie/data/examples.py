"""Unified JSONL files: one `Example` a line, read in order or by number, with every bad line named.

`read_examples` yields examples and raises all faults at the end; `scan_examples` yields both as they come.
An `IndexedFile` knows where each line starts, and parses an example when it is asked for. Fingerprints tell
which texts of two files are the same.
"""

import json
import unicodedata
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
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
    """The examples that `read_examples` yields, with a fault in the place of each bad line.

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
    splits = [path / f"{one}.jsonl" for one in SPLITS]
    return [file for file in splits if file in files] + [file for file in files if file not in splits]


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Writes a JSONL file, whole or not at all, and returns the number of lines."""
    count = 0
    with staged_file(path) as staged, staged.open("w", encoding="utf-8", newline="\n") as file:
        for count, example in enumerate(examples, start=1):  # noqa: B007  the last number is the count
            file.write(example.to_json() + "\n")
    return count


Fingerprints = NDArray[np.uint64]


def normalised_text(text: str) -> str:
    """The letters and digits of a text, case folded: copies share them whatever their tokenizer did."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, folded)) or "".join(folded.split())


def fingerprint(text: str) -> int:
    """64 bits of a normalised text; two of a million texts share theirs with a chance of 1 in 37 million."""
    return fingerprint_normalised(normalised_text(text))


def fingerprint_normalised(text: str) -> int:
    """The fingerprint of a text that is normalised already."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


_LINE = np.dtype([("start", np.int64), ("end", np.int64), ("split", np.uint8), ("text", np.uint64)])


@dataclass(frozen=True, eq=False)
class IndexedFile:
    """The examples of a JSONL file by number.

    Args:
        lines: of each (N,) the offsets in bytes where its line starts and ends, the place of its split in
            `SPLITS`, and the fingerprint of its text.
    """

    path: Path
    lines: NDArray[np.void]

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, number: int) -> Example:
        """The example, read from the file.

        Raises:
            DataError: the file is another one than the one that was indexed.
        """
        start, end, *_ = self.lines[number].item()
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
        return np.flatnonzero(self.lines["split"] == SPLITS.index(split))

    @property
    def fingerprints(self) -> Fingerprints:
        """Those of the texts, (N,)."""
        texts: Fingerprints = self.lines["text"]
        return texts


def index_file(path: Path) -> IndexedFile:
    """The index of a JSONL file, from one pass over it, in which every line is validated.

    Raises:
        DataError: lines are not examples; all of them, with their reasons. Or the file is compressed.
    """
    if path.suffix in COMPRESSION:
        raise DataError(str(path), ["it is compressed"], "unpack it: training reads lines in any order")
    faults: list[str] = []
    lines = np.fromiter(_checked_lines(path, faults), _LINE)
    if faults:
        raise DataError(str(path), faults, HINT)
    return IndexedFile(path, lines)


def _checked_lines(path: Path, faults: list[str]) -> Iterator[tuple[int, int, int, int]]:
    """Start, end, split and fingerprint of each example; what is said of other lines goes to `faults`."""
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            content = line.removeprefix(BOM_UTF8) if number == 1 else line
            start = offset + len(line) - len(content)
            offset += len(line)
            content = content.rstrip(b"\r\n")
            if not content.strip():
                continue
            try:
                example = Example.from_json(content)
            except ValidationError as error:
                faults.append(f"{path.name} line {number}   {validation_faults(error)}")
                continue
            yield start, start + len(content), SPLITS.index(example.split), fingerprint(example.text)


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
