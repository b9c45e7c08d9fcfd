"""What a folder of unified data holds: counts, lengths, labels, and texts that stand in two splits."""

from collections import Counter
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ucuie.data.examples import read_examples
from ucuie.data.leaks import normalised_text
from ucuie.schema import Split

FIRST_STEP = 32
"""Characters below which the first step of the lengths' histogram ends."""


class _Statistics(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitStatistics(_Statistics):
    """One split in numbers.

    Args:
        examples: lines.
        with_records: examples that hold at least one record.
        records: by frame.
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


class Statistics(_Statistics):
    """A data set in numbers; `overlaps` counts texts that two splits share ("test in train")."""

    splits: dict[Split, SplitStatistics]
    overlaps: dict[str, int]


def stats(directory: Path) -> Statistics:
    """The numbers of a folder of unified data.

    Raises:
        DataError: there is no unified data, or it has bad lines.
    """
    tallies: dict[Split, _Tally] = {}
    for example in read_examples(directory):
        tally = tallies.setdefault(example.split, _Tally())
        spans = {filler.span for record in example.records for filler in record.fillers()}
        tally.examples += 1
        tally.with_records += bool(example.records)
        tally.records.update(record.frame for record in example.records)
        tally.slots.update(
            f"{record.frame} / {filled.slot}" for record in example.records for filled in record.slots
        )
        tally.nested += sum(
            outer != inner and outer[0] <= inner[0] and inner[1] <= outer[1]
            for outer in spans
            for inner in spans
        )
        tally.lengths.append(len(example.text))
        tally.texts[normalised_text(example.text)] += 1
    names = list(tallies)
    return Statistics(
        splits={split: tally.summary() for split, tally in tallies.items()},
        overlaps={
            f"{later} in {earlier}": len(tallies[later].texts.keys() & tallies[earlier].texts.keys())
            for index, later in enumerate(names)
            for earlier in names[:index]
        },
    )


class _Tally:
    def __init__(self) -> None:
        self.examples = self.with_records = self.nested = 0
        self.records: Counter[str] = Counter()
        self.slots: Counter[str] = Counter()
        self.lengths: list[int] = []
        self.texts: Counter[str] = Counter()

    def summary(self) -> SplitStatistics:
        return SplitStatistics(
            examples=self.examples,
            with_records=self.with_records,
            records=dict(sorted(self.records.items())),
            slots=dict(sorted(self.slots.items())),
            nested=self.nested,
            mean_length=round(sum(self.lengths) / self.examples, 1),
            max_length=max(self.lengths),
            lengths=_doubling_histogram(self.lengths),
            repeated_texts=self.examples - len(self.texts),
        )


def _doubling_histogram(lengths: list[int]) -> tuple[int, ...]:
    steps = Counter((length // FIRST_STEP).bit_length() for length in lengths)
    return tuple(steps[step] for step in range(max(steps) + 1))
