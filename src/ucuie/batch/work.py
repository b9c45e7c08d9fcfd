"""Rows cut into shards, which are finished one by one, and into slices, which are answered at once.

Where the cuts are depends on the rows alone: so a shard holds the same rows in every run, and a slice shares
its forward passes with the same texts on every engine.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ucuie.batch.rows import Row

SHARD_BYTES = 2**26
"""The most of a shard, whatever the number of its rows: it has to fit into memory several times."""


@dataclass(frozen=True)
class Shard:
    """Rows that are finished together, in the order of the input.

    Shards are numbered from 0; `num_bytes` is what the rows take of the input's files, about.
    """

    number: int
    rows: tuple[Row, ...]
    num_bytes: int

    def slices(self, size: int) -> "Iterator[Slice]":
        """Its rows in slices of so many."""
        for first in range(0, len(self.rows), size):
            yield Slice(self.number, first, self.rows[first : first + size])


@dataclass(frozen=True)
class Slice:
    """Rows that are answered at once.

    `first` is the position of the first of them in their shard, from 0; `num_lost` counts the workers that
    were lost with them.
    """

    shard: int
    first: int
    rows: tuple[Row, ...]
    num_lost: int = 0

    def again(self) -> "tuple[Slice, ...]":
        """The slices to ask after a worker was lost: the same again, from then on each half for itself."""
        if self.num_lost == 0 or len(self.rows) == 1:
            return (replace(self, num_lost=self.num_lost + 1),)
        half = len(self.rows) // 2
        return (
            replace(self, rows=self.rows[:half]),
            replace(self, first=self.first + half, rows=self.rows[half:]),
        )


@dataclass(frozen=True)
class Lost:
    """A slice without an answer, because the worker that had it was lost; `reason` is how."""

    reason: str


class Workers(Protocol):
    """Answers slices, on this machine or others."""

    def answer(self, slices: "Sequence[Slice]") -> "Iterator[tuple[int, list[bytes] | Lost]]":
        """For each slice, by its position and in any order, a line for each of its rows, or that it is lost.

        Raises:
            UserError: no worker can be had; says why.
        """


def cut_shards(rows: Iterable[tuple[Row, int]], shard_rows: int, total_bytes: int) -> Iterator[Shard]:
    """The shards of all rows, which come each with the bytes of the input before it."""
    number, start, size = 0, 0, 0
    taken: list[Row] = []
    for row, position in rows:
        if taken and (len(taken) == shard_rows or size + len(row.raw) > SHARD_BYTES):
            yield Shard(number, tuple(taken), position - start)
            number, start, size, taken = number + 1, position, 0, []
        taken.append(row)
        size += len(row.raw)
    if taken:
        yield Shard(number, tuple(taken), total_bytes - start)
