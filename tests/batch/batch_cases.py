"""Inputs, outputs and a stand-in for workers: what a batch is tested with where no model is needed."""

import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ucuie.batch.output import Manifest, OutputFolder
from ucuie.batch.rows import Columns, OutputRow, Row
from ucuie.batch.run import Batch, BatchReport, run_batch
from ucuie.batch.sources import Source
from ucuie.batch.work import Lost, Slice
from ucuie.errors import TextError

MODEL = "stand-in"
COLUMNS = Columns()


def write_lines(path: Path, texts: Sequence[str]) -> Path:
    path.write_text("".join(json.dumps({"id": str(n), "text": t}) + "\n" for n, t in enumerate(texts)))
    return path


def manifest_of(source: Source, *, shard_rows: int = 10, **changes: Any) -> Manifest:
    return Manifest(
        **{
            "ucuie": "1",
            "input": source.facts,
            "asked": {"schema": ["person"]},
            "shard_rows": shard_rows,
            "format": "jsonl",
        }
        | changes
    )


def line_of(row: Row) -> bytes:
    try:
        text = row.read(COLUMNS).text
    except TextError:
        text = None
    answered = OutputRow(id=row.name, file=row.file, row=row.number, text=text, model=MODEL)
    return answered.model_dump_json().encode()


class StandIn:
    """Answers in random order; `loses` says of which slices the worker is lost."""

    def __init__(self, seed: int = 0, loses: Any = lambda asked, chance: False, seconds: float = 0.0) -> None:
        self._chance = random.Random(seed)
        self._loses = loses
        self._seconds = seconds

    def answer(self, slices: Sequence[Slice]) -> Iterator[tuple[int, list[bytes] | Lost]]:
        order = list(range(len(slices)))
        self._chance.shuffle(order)
        for index in order:
            time.sleep(self._seconds)
            if self._loses(slices[index], self._chance):
                yield index, Lost("by signal 9")
            else:
                yield index, [line_of(row) for row in slices[index].rows]


def batch(
    source: Source,
    output: Path | str,
    engine: Any = None,
    *,
    shard_rows: int = 10,
    slice_rows: int = 3,
    **changes: Any,
) -> BatchReport:
    with OutputFolder(str(output), manifest_of(source, shard_rows=shard_rows, **changes)) as folder:
        asked = Batch(source, folder, engine or StandIn(), shard_rows, slice_rows, MODEL)
        return run_batch(asked, lambda progress: None)


def output_rows(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(folder.glob("part-*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def content(folder: Path) -> list[dict[str, Any]]:
    """All that must not differ between two runs."""
    return [row | {"seconds": 0} for row in output_rows(folder)]
