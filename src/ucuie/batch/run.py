"""A batch from beginning to end: shards that are not there yet are answered, written, and counted.

In: a source, an output folder, an engine. Out: a row for each row of the source, whatever happens meanwhile.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from ucuie.batch.output import OutputFolder
from ucuie.batch.rows import OutputRow, Row
from ucuie.batch.sources import Source
from ucuie.batch.work import SHARD_BYTES, Lost, Shard, Slice, Workers, cut_shards
from ucuie.errors import UcuieError

_MOST_LOSSES = 2
"""Workers that one row by itself may cost until it is set aside."""
_MOST_LOST_ROWS = 5
"""Rows set aside with no answer in between: then it is not the rows that are at fault."""
_ROUND_SHARDS = 16


class EngineError(UcuieError):
    """Workers are lost whatever they are given."""


@dataclass
class Progress:
    """The state of a run.

    Args:
        total_bytes: size of the whole input, of which `num_bytes` were answered in this run, about, and
            `kept_bytes` before.
        num_rows: answered in this run; `num_rejected` of them have an error.
        num_kept: rows that were finished before.
        num_lost: slices whose worker was lost; they are asked again.
    """

    total_bytes: int
    num_rows: int = 0
    num_rejected: int = 0
    num_kept: int = 0
    num_lost: int = 0
    num_bytes: float = 0.0
    kept_bytes: int = 0
    seconds: float = 0.0

    @property
    def rows_per_second(self) -> float:
        """The speed of this run."""
        return self.num_rows / max(self.seconds, 1e-9)

    @property
    def share(self) -> float:
        """The part of the input that is done, from 0 to 1."""
        return min((self.num_bytes + self.kept_bytes) / max(self.total_bytes, 1), 1.0)

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None where nothing is done yet."""
        if not self.num_bytes:
            return None
        left = max(self.total_bytes - self.kept_bytes - self.num_bytes, 0)
        return left * self.seconds / self.num_bytes


Watcher = Callable[[Progress], None]
"""Is told how far a run is, after every slice."""


@dataclass(frozen=True)
class BatchReport:
    """The numbers of a batch that is done.

    Rows are those of the whole output, of which `num_kept` were there before; seconds and rows per second are
    those of this run.
    """

    num_rows: int
    num_rejected: int
    num_kept: int
    num_shards: int
    seconds: float
    rows_per_second: float


@dataclass(frozen=True)
class Batch:
    """Rows, an engine that answers them, and the folder of the answers, both open.

    At most `shard_rows` are a shard, at most `slice_rows` are answered at once. `model` is the name that rows
    get which no worker survives.
    """

    source: Source
    output: OutputFolder
    engine: Workers
    shard_rows: int
    slice_rows: int
    model: str


def run_batch(batch: Batch, watch: Watcher) -> BatchReport:
    """Answers all rows of a source that are not in the output yet.

    Raises:
        OutputError: the output cannot be written.
        EngineError: workers are lost whatever they are given.
        DataError: the input was changed meanwhile.
    """
    return _Run(batch, watch).report()


_Unfinished = dict[int, tuple[Shard, dict[int, bytes]]]
"""By their numbers, shards with the lines of their rows so far, by the positions of these."""


class _Run:
    def __init__(self, batch: Batch, watch: Watcher) -> None:
        self._batch = batch
        self._watch = watch
        self._progress = Progress(batch.source.facts.num_bytes)
        self._num_lost_rows = 0
        self._start = time.perf_counter()

    def report(self) -> BatchReport:
        """Do all of it."""
        num_shards = num_kept_rejected = 0
        finished = self._batch.output.finished()
        progress = self._progress
        for shards in self._rounds():
            pending = []
            for shard in shards:
                num_shards += 1
                if shard.number not in finished:
                    pending.append(shard)
                    continue
                progress.num_kept += len(shard.rows)
                progress.kept_bytes += shard.num_bytes
                num_kept_rejected += self._batch.output.num_rejected(shard.number)
            if pending:
                self._finish(pending)
        report = BatchReport(
            num_rows=progress.num_rows + progress.num_kept,
            num_rejected=progress.num_rejected + num_kept_rejected,
            num_kept=progress.num_kept,
            num_shards=num_shards,
            seconds=round(progress.seconds, 3),
            rows_per_second=round(progress.rows_per_second, 3),
        )
        self._batch.source.check_unchanged()
        self._batch.output.write_report(asdict(report))
        return report

    def _rounds(self) -> Iterator[list[Shard]]:
        """Shards in groups that go to the engine together: enough to keep it busy, few enough for memory."""
        shards: list[Shard] = []
        num_bytes = 0
        for shard in cut_shards(
            self._batch.source.rows(), self._batch.shard_rows, self._progress.total_bytes
        ):
            shards.append(shard)
            num_bytes += sum(len(row.raw) for row in shard.rows)
            if len(shards) == _ROUND_SHARDS or num_bytes >= SHARD_BYTES:
                yield shards
                shards, num_bytes = [], 0
        yield shards

    def _finish(self, shards: Sequence[Shard]) -> None:
        """Answer and write shards, each as soon as its last row has an answer."""
        unfinished: _Unfinished = {shard.number: (shard, {}) for shard in shards}
        slices = [one for shard in shards for one in shard.slices(self._batch.slice_rows)]
        while slices:
            lost: list[Slice] = []
            for index, answer in self._batch.engine.answer(slices):
                asked = slices[index]
                if not isinstance(answer, Lost):
                    self._num_lost_rows = 0
                    self._take(asked, answer, unfinished)
                else:
                    self._progress.num_lost += 1
                    if len(asked.rows) > 1 or asked.num_lost + 1 < _MOST_LOSSES:
                        lost += asked.again()
                    else:
                        self._take(asked, [self._set_aside(asked.rows[0], answer)], unfinished)
                self._progress.seconds = time.perf_counter() - self._start
                self._watch(self._progress)
            slices = lost

    def _take(self, asked: Slice, lines: Sequence[bytes], unfinished: _Unfinished) -> None:
        """Put the lines of a slice into their shard, and the shard into the output once it is whole."""
        shard, answered = unfinished[asked.shard]
        answered.update(enumerate(lines, start=asked.first))
        self._progress.num_rows += len(lines)
        self._progress.num_bytes += shard.num_bytes * len(lines) / len(shard.rows)
        if len(answered) == len(shard.rows):
            del unfinished[asked.shard]
            in_order = [answered[position] for position in range(len(shard.rows))]
            self._progress.num_rejected += self._batch.output.write_shard(asked.shard, in_order)

    def _set_aside(self, row: Row, lost: Lost) -> bytes:
        """The line of a row that no worker survives; an EngineError where none survives the last ones."""
        self._num_lost_rows += 1
        if self._num_lost_rows >= _MOST_LOST_ROWS:
            raise EngineError(
                f"workers are lost whatever they are given, at last {lost.reason}; what is finished stays, "
                "and the same command goes on from there"
            )
        error = f"the worker that read it ended {lost.reason}, {_MOST_LOSSES} times; memory may not be enough"
        return OutputRow.failed(row, error, model=self._batch.model).model_dump_json().encode()
