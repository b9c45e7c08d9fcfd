"""Where raw corpora lie, and short ways to write down what a reader should find."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ucuie.data import dataset_named
from ucuie.data.draft import Draft, Fault
from ucuie.data.readers import read_drafts
from ucuie.schema import Record

DATA = Path(os.environ.get("UCUIE_DATA", Path(__file__).parents[3] / "shared" / "data"))

Told = tuple[str, str | None, list[tuple[str, str | None]]]
"""A record as strings: frame, filler, slots."""


def told(record: Record) -> Told:
    slots = [(filled.slot, filled.filler and filled.filler.text) for filled in record.slots]
    return record.frame, record.filler and record.filler.text, slots


def raw_folder(name: str) -> Path:
    """The raw files of a data set; skips the test where they are not."""
    folder = DATA / dataset_named(name).task.lower() / name / "raw"
    if not folder.is_dir():
        pytest.skip(f"no raw files of {name} in {DATA}; set UCUIE_DATA to the folder that holds them")
    return folder


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[Draft | Fault]]:
    """Reads file contents with a reader: read("columns", "a\\tO\\n", separator=" ")."""

    def read_contents(reader: str, *contents: str, **options: Any) -> list[Draft | Fault]:
        paths = []
        for number, content in enumerate(contents):
            path = tmp_path / f"file{number}.txt"
            path.write_text(content, encoding="utf-8", newline="")
            paths.append(path)
        return list(read_drafts(reader, paths, options))

    return read_contents


def only_drafts(readings: Sequence[Draft | Fault]) -> Iterator[Draft]:
    for reading in readings:
        assert isinstance(reading, Draft), reading
        yield reading
