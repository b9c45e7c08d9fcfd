"""Slices to processes of this machine, one model each.

A process that is lost takes its slice with it, is told of, and is replaced. Processes end when the program
that made them does, however that ends: then nothing comes from their pipe any more.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Self

from ucuie.batch.job import Answerer, Job
from ucuie.batch.work import Lost, Slice
from ucuie.errors import UcuieError, UserError, show

_MOST_FAILED_STARTS = 3
"""In a row, until the engine gives up."""


class WorkerError(UcuieError):
    """No worker can be had."""


@dataclass(eq=False)
class _Worker:
    process: SpawnProcess
    connection: "Connection[Any, Any]"
    index: int
    is_ready: bool = False
    slice: int | None = None


class LocalEngine:
    """Processes that answer slices, as long as it is open."""

    def __init__(self, job: Job, *, num_workers: int) -> None:
        self._job = job
        self._num_workers = num_workers
        self._workers: list[_Worker] = []
        self._num_failed_starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            # What it is at is of no use to anyone any more.
            worker.process.kill()
            worker.process.join()
            worker.connection.close()

    def answer(self, slices: Sequence[Slice]) -> Iterator[tuple[int, list[bytes] | Lost]]:
        """For each slice, by its position and in any order, its lines, or that it is lost.

        Raises:
            UserError: the model cannot be loaded, or does not fit what is asked.
            WorkerError: processes end before they are ready, again and again.
        """
        if not self._workers:
            self._workers = [self._start(index) for index in range(self._num_workers)]
        waiting = list(reversed(range(len(slices))))
        num_left = len(slices)
        while num_left:
            self._hand_out(slices, waiting)
            for worker in self._heard():
                for answer in self._hear(worker):
                    num_left -= 1
                    yield answer

    def _hand_out(self, slices: Sequence[Slice], waiting: list[int]) -> None:
        for worker in self._workers:
            if worker.is_ready and worker.slice is None and waiting:
                worker.slice = waiting.pop()
                try:
                    worker.connection.send(slices[worker.slice].rows)
                except OSError:
                    # It is gone; its end is heard of next.
                    continue

    def _heard(self) -> list[_Worker]:
        """The workers that have something to say, or have ended."""
        by_source: dict[object, _Worker] = {}
        for worker in self._workers:
            by_source[worker.connection] = by_source[worker.process.sentinel] = worker
        return list(dict.fromkeys(by_source[source] for source in wait(list(by_source))))  # type: ignore[arg-type]

    def _hear(self, worker: _Worker) -> Iterator[tuple[int, list[bytes] | Lost]]:
        try:
            message = worker.connection.recv() if worker.connection.poll() else None
        except (EOFError, OSError):
            message = None
        if message is None:
            yield from self._replace(worker)
        elif isinstance(message, UserError):
            raise message
        elif not worker.is_ready:
            worker.is_ready = True
            self._num_failed_starts = 0
        else:
            assert worker.slice is not None
            finished, worker.slice = worker.slice, None
            yield finished, message

    def _replace(self, worker: _Worker) -> Iterator[tuple[int, Lost]]:
        worker.process.join()
        worker.connection.close()
        code = worker.process.exitcode
        reason = f"by signal {-code}" if code and code < 0 else f"with exit code {show(code)}"
        if not worker.is_ready:
            self._num_failed_starts += 1
            if self._num_failed_starts >= _MOST_FAILED_STARTS:
                raise WorkerError(
                    f"{self._num_failed_starts} processes in a row ended before they were ready, at last "
                    f"{reason}; with --workers 1, or a smaller model, there may be memory enough"
                )
        self._workers[self._workers.index(worker)] = self._start(worker.index)
        if worker.slice is not None:
            yield worker.slice, Lost(reason)

    def _start(self, index: int) -> _Worker:
        # A fork would copy the threads' locks of libraries, a new interpreter has none.
        context = multiprocessing.get_context("spawn")
        connection, theirs = context.Pipe()
        arguments = (self._job, index, self._num_workers, theirs)
        process = context.Process(target=_work, args=arguments, name=f"ucuie-batch-{index}", daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, connection, index)


def _work(job: Job, index: int, num_workers: int, connection: "Connection[Any, Any]") -> None:
    """Says that this process is ready, then answers slices until no more come."""
    # Ctrl-C goes to all processes of a terminal; what this one is at is the other's to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        num_threads = max((os.cpu_count() or 1) // num_workers, 1)
        answerer = Answerer(job, device=_device(job, index), num_threads=num_threads)
    except UserError as error:
        connection.send(error)
        return
    connection.send("ready")
    try:
        while True:
            connection.send(answerer.answer(connection.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # The program that made this process has ended, or does not need it any more.
        return


def _device(job: Job, index: int) -> str | None:
    """The device of a worker: one GPU after the other, where nothing else is asked for."""
    import torch

    if job.options.device is not None or not torch.cuda.is_available():
        return job.options.device
    return f"cuda:{index % torch.cuda.device_count()}"
