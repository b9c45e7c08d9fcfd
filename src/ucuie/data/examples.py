"""Unified JSONL files: one `Example` a line, streamed, with every bad line named.

`scan_examples` yields examples and faults as they come; `read_examples` yields the examples and
raises all faults together at the end of the last file.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from ucuie.data.draft import Fault
from ucuie.data.sources import encoding_fault, read_lines
from ucuie.errors import DataError, validation_faults
from ucuie.schema import SPLITS, Example, Split

_SPLIT_FILES = tuple(f"{split}.jsonl" for split in SPLITS)
HINT = (
    'one JSON object a line with "id", "task", "text", "schema" and "records"; '
    "`ucuie convert` writes it from other formats"
)


def read_examples(path: Path, *, split: Split | None = None) -> Iterator[Example]:
    """The examples of a JSONL file, or of all JSONL files of a folder.

    Args:
        path: a file, or a folder; train, validation, test come first, then other files by name.
        split: only examples of that split.

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
        for number, line in read_lines(file):
            if not line.strip():
                continue
            if fault := encoding_fault(line):
                yield Fault(f"{file.name} line {number}", fault)
                continue
            try:
                example = Example.from_json(line)
            except ValidationError as error:
                yield Fault(f"{file.name} line {number}", validation_faults(error))
                continue
            if split is None or example.split == split:
                yield example


def example_files(path: Path, *, split: Split | None = None) -> list[Path]:
    """The JSONL files that a path stands for; of a folder with split files only the one of `split`.

    Raises:
        DataError: there is none.
    """
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
    staged = path.with_name(f".{path.name}.part")
    count = 0
    try:
        with staged.open("w", encoding="utf-8", newline="\n") as file:
            for count, example in enumerate(examples, start=1):  # noqa: B007  the last number is the count
                file.write(example.to_json() + "\n")
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
    return count
