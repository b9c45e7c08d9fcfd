"""Writes the examples of sources, a folder with train.jsonl for each, and a table of what they hold.

For instance `python -m making.sources --archives data/wide --work runs/wide --output runs/sources few_nerd`;
without names all sources are read.
"""

import argparse
import tarfile
from collections import Counter
from pathlib import Path

from making.sources import SOURCES, Source
from ucuie.files import write_text
from ucuie.schema import Example


def unpacked(source: Source, archives: Path, work: Path) -> Path:
    """The folder with the files of the source's archive, which is unpacked there if it was not yet."""
    if source.archive is None:
        return work
    folder = work / source.archive.partition(".")[0]
    if not folder.is_dir():
        with tarfile.open(archives / source.archive) as archive:
            archive.extractall(folder, filter="data")
    return folder


def read(source: Source, folder: Path) -> tuple[list[Example], Counter[str]]:
    """All examples of a source, and what its reader says that it left out."""
    examples: list[Example] = []
    reading = iter(source.read(folder))
    while True:
        try:
            examples.append(next(reading))
        except StopIteration as end:
            return examples, end.value or Counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*SOURCES, []], metavar="NAME")
    parser.add_argument("--archives", type=Path, required=True, help="folder with the archives")
    parser.add_argument("--work", type=Path, required=True, help="folder to unpack them into")
    parser.add_argument("--output", type=Path, required=True, help="gets NAME/train.jsonl")
    options = parser.parse_args()
    print(f"{'source':20} {'examples':>8} {'filled':>7} {'records':>8} {'types':>6} {'length':>7}  left out")
    for source in (SOURCES[name] for name in options.names or SOURCES):
        examples, left = read(source, unpacked(source, options.archives, options.work))
        write_text(
            options.output / source.name / "train.jsonl",
            "".join(f"{example.to_json()}\n" for example in examples),
        )
        print(row(source.name, examples, left), flush=True)


def row(name: str, examples: list[Example], left: Counter[str]) -> str:
    """A line of the table; `filled` are examples with records, `length` is the mean in characters."""
    num_records = sum(len(example.records) for example in examples)
    num_filled = sum(bool(example.records) for example in examples)
    types = {frame.name for example in examples for frame in example.schema.frames}
    length = sum(len(example.text) for example in examples) / max(len(examples), 1)
    reasons = "; ".join(f"{count} {reason}" for reason, count in left.most_common())
    counts = f"{len(examples):8} {num_filled:7} {num_records:8} {len(types):6} {length:7.0f}"
    return f"{name:20} {counts}  {reasons}"


if __name__ == "__main__":
    main()
