"""Where raw corpora lie, and short ways to write down what a reader should find."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from ucuie.data import dataset_named, write_examples
from ucuie.data.draft import Draft, Fault
from ucuie.schema import Example, FilledSlot, Filler, Frame, Record, Schema, Slot, Split, Task

DATA = Path(os.environ.get("UCUIE_DATA", Path(__file__).parents[3] / "shared" / "data"))

Told = tuple[str, str | None, list[tuple[str, str | None]]]
"""A record as strings: frame, filler, slots."""


def told(record: Record) -> Told:
    slots = [(filled.slot, _text(filled.filler)) for filled in record.slots]
    return record.frame, _text(record.filler), slots


def _text(filler: Filler | None) -> str | None:
    return None if filler is None else filler.text


def raw_folder(name: str) -> Path:
    """The raw files of a data set; skips the test where they are not."""
    folder = DATA / dataset_named(name).task.lower() / name / "raw"
    if not folder.is_dir():
        pytest.skip(f"no raw files of {name} in {DATA}; set UCUIE_DATA to the folder that holds them")
    return folder


def only_drafts(readings: Sequence[Draft | Fault]) -> Iterator[Draft]:
    for reading in readings:
        assert isinstance(reading, Draft), reading
        yield reading


def found(text: str, piece: str | None) -> Filler | None:
    """The filler for the first occurrence of a piece of the text."""
    if piece is None:
        return None
    start = text.index(piece)
    return Filler(text=piece, start=start, end=start + len(piece))


def example(
    text: str,
    *records: tuple[str, str | None, Mapping[str, str | None]],
    task: Task = "EE",
    id: str = "set/train/1",  # noqa: A002  the example's own field
    dataset: str = "",
    split: Split = "train",
) -> Example:
    """An example whose records are given as strings; the schema has their frames and slots, and one more."""
    slots: dict[str, dict[str, None]] = {}
    for frame, _, filled in records:
        slots.setdefault(frame, {}).update(dict.fromkeys(filled))
    frames = [
        Frame(name=frame, slots=tuple(Slot(name=slot) for slot in names)) for frame, names in slots.items()
    ]
    return Example(
        id=id,
        dataset=dataset,
        split=split,
        task=task,
        text=text,
        schema=Schema(frames=(*frames, Frame(name="other", slots=()))),
        records=tuple(
            Record(
                frame=frame,
                filler=found(text, filler),
                slots=tuple(
                    FilledSlot(slot=slot, filler=found(text, piece)) for slot, piece in filled.items()
                ),
            )
            for frame, filler, filled in records
        ),
    )


def write_sets(folder: Path, contents: Mapping[str, Mapping[Split, Sequence[str]]]) -> None:
    """A folder of unified data for each set, an example for each text."""
    for dataset, splits in contents.items():
        (folder / dataset).mkdir(parents=True)
        for split, texts in splits.items():
            write_examples(
                folder / dataset / f"{split}.jsonl",
                [
                    example(text, id=f"{dataset}/{split}/{text}", dataset=dataset, split=split)
                    for text in texts
                ],
            )
