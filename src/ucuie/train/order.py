"""The order of training: which examples share a row, and in what order rows come.

In: groups of examples that can be asked with one instruction, by their indices, and their lengths. Out: keys,
from which `TrainingSet` makes rows. All chance comes from (seed, epoch). Knows no texts and no tokens.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch.utils.data import Sampler

Indices = tuple[int, ...]
"""The examples of a row."""
Key = tuple[int, Indices]
"""(epoch, the examples of the row, or `FILLER`)."""

FILLER: Indices = ()
"""A row that does not count: a step that several share has no other one for one of them."""

BATCHES_PER_BUCKET = 50
SORTED_TOGETHER = 100
"""Examples of a group among which those of similar length share rows."""


@dataclass(frozen=True)
class Questions:
    """Examples by what they are asked.

    Args:
        groups: the examples that can be asked with one instruction, by their indices.
        lengths: tokens of each example with its instruction, by its index.
    """

    groups: tuple[Indices, ...]
    lengths: Mapping[int, int]
    texts_per_row: int = 1

    def __len__(self) -> int:
        """Rows of an epoch."""
        return sum(-(-len(group) // self.texts_per_row) for group in self.groups)

    def rows(self, generator: random.Random | None = None) -> list[Indices]:
        """The rows of an epoch; with a generator, other examples of a group share a row each time."""
        rows = []
        for group in self.groups:
            ordered = group if generator is None else self._mixed(group, generator)
            rows += [
                tuple(ordered[start : start + self.texts_per_row])
                for start in range(0, len(group), self.texts_per_row)
            ]
        return rows

    def _mixed(self, group: Indices, generator: random.Random) -> Sequence[int]:
        if self.texts_per_row == 1:
            return group
        shuffled = generator.sample(group, len(group))
        ordered: list[int] = []
        for start in range(0, len(shuffled), SORTED_TOGETHER):
            ordered += sorted(shuffled[start : start + SORTED_TOGETHER], key=self.lengths.__getitem__)
        return ordered


class EpochSampler(Sampler[Key]):
    """Keys of one epoch in random order, rows of similar length side by side, `batch_size` rows to a step.

    The order is a function of (seed, epoch). The last step is filled up with rows that do not count.
    """

    def __init__(self, questions: Questions, *, batch_size: int, seed: int) -> None:
        self._questions = questions
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Start over with the order of another epoch; the Trainer calls it."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-len(self._questions) // self._batch_size) * self._batch_size

    def __iter__(self) -> Iterator[Key]:
        generator = random.Random(f"{self._seed}/{self._epoch}")
        rows = self._questions.rows(generator)
        generator.shuffle(rows)
        bucket = self._batch_size * BATCHES_PER_BUCKET
        batches = []
        for start in range(0, len(rows), bucket):
            by_length = sorted(rows[start : start + bucket], key=self._length)
            batches += [
                by_length[first : first + self._batch_size]
                for first in range(0, len(by_length), self._batch_size)
            ]
        generator.shuffle(batches)
        # A short batch anywhere but at the end would shift the borders of all that follow.
        batches.sort(key=len, reverse=True)
        for row in _filled([row for batch in batches for row in batch], self._batch_size):
            yield self._epoch, row

    def _length(self, row: Indices) -> int:
        return sum(self._questions.lengths[index] for index in row)


def evaluation_keys(questions: Questions, *, batch_size: int) -> list[Key]:
    """Keys of all rows in the order of their examples, as one epoch of whole steps of `batch_size` rows."""
    return [(0, row) for row in _filled(sorted(questions.rows()), batch_size)]


def _filled(rows: Sequence[Indices], batch_size: int) -> list[Indices]:
    """Rows and what the last step lacks. Accelerate would give processes rows again, and they would count."""
    return [*rows, *[FILLER] * (-len(rows) % batch_size)]
