"""What annotated data holds: counts, lengths, labels, overlaps of splits, leaks to other sets, its schema."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel

from ucuie.data.conversion import UNIFIED, convert_format
from ucuie.data.examples import fingerprint_normalised, normalised_text, read_examples
from ucuie.data.mixture import count_leaks, dataset_folders, held_out_texts
from ucuie.errors import DataError
from ucuie.schema import Example, Frame, Schema, Slot, Split, Task

FIRST_STEP = 32
"""Characters below which the first step of the lengths' histogram ends."""


class SplitStatistics(BaseModel, frozen=True, extra="forbid"):
    """One split in numbers.

    Args:
        with_records: examples that hold at least one record.
        slots: filled slots, by frame and slot ("work for / subject").
        nested: pairs of fillers of an example where one lies inside the other.
        mean_length: of the texts, in characters.
        max_length: of the longest text, in characters.
        lengths: texts of 0 to 31 characters, of 32 to 63, of 64 to 127, and so on in doubling steps.
        repeated_texts: examples whose text stood in an earlier line of the split.
    """

    examples: int
    with_records: int
    records: dict[str, int]
    slots: dict[str, int]
    nested: int
    mean_length: float
    max_length: int
    lengths: tuple[int, ...]
    repeated_texts: int


class Statistics(BaseModel, frozen=True, extra="forbid"):
    """A data set in numbers.

    Args:
        overlaps: how many texts two splits share ("test in train").
        leaks: how many training texts stand in held-out splits of other data sets ("16res/test").
    """

    splits: dict[Split, SplitStatistics]
    overlaps: dict[str, int]
    leaks: dict[str, int]


def stats(directory: Path, *, held_out: Sequence[Path] = ()) -> Statistics:
    """The numbers of a folder of unified data.

    Its training texts are looked for among the validation and test texts of `held_out`, which are further
    converted data sets, or folders of them.

    Raises:
        DataError: there is no unified data, or it has bad lines.
    """
    splits: dict[Split, list[_Facts]] = {}
    for example in read_examples(directory):
        splits.setdefault(example.split, []).append(_facts(example))
    texts = {split: {one.text for one in facts} for split, facts in splits.items()}
    others = [one for folder in held_out for one in dataset_folders(folder)]
    others = [folder for folder in others if folder.resolve() != directory.resolve()]
    training = np.array([*map(fingerprint_normalised, texts.get("train", ()))], np.uint64)
    return Statistics(
        splits={split: _summary(facts) for split, facts in splits.items()},
        overlaps={
            f"{later} in {earlier}": len(texts[later] & texts[earlier])
            for earlier, later in combinations(splits, 2)
        },
        leaks=count_leaks(training, held_out_texts(others)),
    )


class _Facts(NamedTuple):
    """What is counted of an example; the text is normalised, the length that of the text itself."""

    text: str
    length: int
    records: list[str]
    slots: list[str]
    nested: int


def _facts(example: Example) -> _Facts:
    spans = {filler.span for record in example.records for filler in record.fillers()}
    return _Facts(
        text=normalised_text(example.text),
        length=len(example.text),
        records=[record.frame for record in example.records],
        slots=[f"{record.frame} / {filled.slot}" for record in example.records for filled in record.slots],
        nested=sum(outer[0] <= inner[0] and inner[1] <= outer[1] for outer, inner in permutations(spans, 2)),
    )


def _summary(facts: Sequence[_Facts]) -> SplitStatistics:
    lengths = [one.length for one in facts]
    steps = Counter((length // FIRST_STEP).bit_length() for length in lengths)
    return SplitStatistics(
        examples=len(facts),
        with_records=sum(bool(one.records) for one in facts),
        records=_counts(one.records for one in facts),
        slots=_counts(one.slots for one in facts),
        nested=sum(one.nested for one in facts),
        mean_length=round(sum(lengths) / len(facts), 1),
        max_length=max(lengths),
        lengths=tuple(steps[step] for step in range(max(steps) + 1)),
        repeated_texts=len(facts) - len({one.text for one in facts}),
    )


def _counts(names: Iterable[Sequence[str]]) -> dict[str, int]:
    return dict(sorted(Counter(chain.from_iterable(names)).items()))


@dataclass(frozen=True)
class DataSchema:
    """The schema of some data.

    Args:
        schema: every frame that an example offers, the most frequent first.
        counts: how many records each frame has.
    """

    schema: Schema
    num_examples: int
    counts: Counter[str]


def schema_of_data(source: Path, *, format_name: str = UNIFIED, task: Task = "NER") -> DataSchema:
    """The schema of a file or folder of annotated data, unified or in one of `FORMATS`.

    Raises:
        ConfigError: there is no such format.
        DataError: there is no such file, or nothing in it can be used; of unified data, any line is at fault.
    """
    if format_name == UNIFIED:
        return schema_of_examples(read_examples(source), str(source))
    with TemporaryDirectory() as folder:
        convert_format(format_name, source, Path(folder), task=task)
        return schema_of_examples(read_examples(Path(folder)), str(source))


def schema_of_examples(examples: Iterable[Example], source: str) -> DataSchema:
    """The schema of examples; `source` is what a message calls them.

    Raises:
        DataError: there are none.
    """
    counts: Counter[str] = Counter()
    descriptions: dict[str, str] = {}
    slots: dict[str, dict[str, Slot]] = {}
    num_examples = 0
    for example in examples:
        num_examples += 1
        for frame in example.schema.frames:
            known = slots.setdefault(frame.name, {})
            for slot in frame.slots:
                known.setdefault(slot.name, slot)
            if frame.description is not None:
                descriptions.setdefault(frame.name, frame.description)
        counts.update(record.frame for record in example.records)
    if not slots:
        raise DataError(source, ["there is no annotated text in it"])
    frames = [
        Frame(name=name, description=descriptions.get(name), slots=tuple(slots[name].values()))
        for name in sorted(slots, key=lambda name: -counts[name])
    ]
    return DataSchema(Schema(frames=tuple(frames)), num_examples, counts)
