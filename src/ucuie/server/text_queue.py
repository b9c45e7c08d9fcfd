"""The queue of texts before the one thread that extracts.

Requests wait side by side in one event loop; whatever waits when the thread is free goes to the extractor
together, up to a batch, whichever requests and schemas it belongs to. All bookkeeping happens in the event
loop, so nothing here needs a lock. Knows nothing of HTTP; what the thread does is `extractors`.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ucuie.errors import TextError, UcuieError
from ucuie.extract.query import Query
from ucuie.extract.result import Extraction
from ucuie.server.extractors import Extractors, Switches
from ucuie.server.messages import ModelFactsMessage

if TYPE_CHECKING:
    from ucuie.model.folder import LoadedModel

_PAUSE_SECONDS = 0.01
_COMPANY_SECONDS = 0.15
"""Clients that were answered together ask again together: while there are fewer texts than in the last batch,
a batch waits until no more come for a moment, at most for so long."""
_POLL_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 60
_BATCH_CHARACTERS = 20_000
"""Of a batch of several texts: the others wait for so much and no more."""
_OLD_RATE_WEIGHT = 0.8


class QueueFullError(UcuieError):
    """More texts wait than the queue holds, or than can be answered in time.

    `retry_seconds` is when there may be room.
    """

    def __init__(self, num_waiting: int, retry_seconds: int) -> None:
        super().__init__(num_waiting, retry_seconds)
        self.retry_seconds = retry_seconds

    def __str__(self) -> str:
        num_waiting, seconds = self.args
        return f"{num_waiting:,} texts wait already; try again in {seconds} s, or with fewer texts"


class NotReadyError(UcuieError):
    """The model is not loaded yet, or the engine is closed."""


class QueueWatcher(Protocol):
    """Is told of every batch that is answered."""

    def batch_done(self, num_texts: int, num_records: int, seconds: float) -> None:
        """Notes a batch."""


class _UnwantedError(UcuieError):
    """Nobody waits for any answer of a batch any more."""


@dataclass(eq=False)
class _Asker:
    """A request, whose texts take turns with those of others: each request is given as many characters."""

    end: int = 0
    """Where in the sequence of turns its last text ends."""


@dataclass(frozen=True, eq=False)
class _Job:
    query: Query
    switches: Switches
    answer: asyncio.Future[Extraction | Exception]
    asker: _Asker
    turn: int
    """Where in the sequence of turns its text begins."""

    @property
    def num_characters(self) -> int:
        """The characters of its text, once for each answer."""
        return len(self.query.text) * self.query.options.n_best


class TextQueue:
    """Answers queries of many requests, one model at a time.

    Args:
        load: as of `Extractors`; called in the queue's thread.
        batch_size: texts that the extractor gets together.
        queue_size: texts that may wait.
        wait_seconds: how long they may have to, as far as can be told from the texts before them.
        **options: of the extractors, such as `max_new_tokens`.
    """

    def __init__(
        self,
        load: "Callable[[], Mapping[str, LoadedModel]]",
        *,
        batch_size: int,
        queue_size: int,
        wait_seconds: float = math.inf,
        watcher: QueueWatcher | None = None,
        **options: Any,
    ) -> None:
        self.queue_size = queue_size
        self.facts: dict[str, ModelFactsMessage] = {}
        """By name, the first first; empty until the models are loaded."""
        self._wait_seconds = wait_seconds
        self._extractors = Extractors(
            load, batch_size=batch_size, before_forward=self._end_if_unwanted, **options
        )
        """Touched by the thread alone."""
        self._batch_size = batch_size
        self._watcher = watcher
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ucuie-engine")
        self._waiting: list[_Job] = []
        self._running: Sequence[_Job] = ()
        """What the extractor is at."""
        self._turn = 0
        """Where in the sequence of turns those begin who come now."""
        self._has_work = asyncio.Event()
        self._is_closed = False
        self._dispatcher: asyncio.Task[None] | None = None
        self._texts_per_second: float | None = None

    async def start(self) -> None:
        """Loads the models and begins to answer; a ModelError says that one cannot be loaded."""
        self.facts = await asyncio.get_running_loop().run_in_executor(self._thread, self._extractors.prepare)
        self._dispatcher = asyncio.create_task(self._dispatch(), name="ucuie-dispatcher")

    async def close(self) -> None:
        """Answers what waits, then ends the thread."""
        self._is_closed = True
        self._has_work.set()
        if self._dispatcher is not None:
            await self._dispatcher
        await asyncio.to_thread(self._thread.shutdown)

    @property
    def is_ready(self) -> bool:
        """True while queries are taken."""
        return self.is_alive and self._dispatcher is not None

    @property
    def is_alive(self) -> bool:
        """True while the queue can still become or stay ready."""
        return not self._is_closed and (self._dispatcher is None or not self._dispatcher.done())

    @property
    def num_waiting(self) -> int:
        """Texts in the queue."""
        return len(self._waiting)

    @property
    def num_running(self) -> int:
        """Texts that the extractor is at."""
        return len(self._running)

    def check_room(self, num_texts: int = 1) -> None:
        """Refuses so many texts if they may not be submitted now.

        Raises:
            QueueFullError: they do not fit.
            NotReadyError: the model is not loaded, or the engine is closed.
        """
        if not self.is_ready:
            raise NotReadyError("the model is not loaded yet" if self.is_alive else "the server is stopping")
        if not self._has_room(num_texts):
            self._waiting = [job for job in self._waiting if not job.answer.cancelled()]
        if not self._has_room(num_texts):
            raise QueueFullError(self.num_waiting, self._retry_seconds())

    def _has_room(self, num_texts: int) -> bool:
        num_waiting = self.num_waiting + num_texts
        if num_waiting <= self._batch_size or self._texts_per_second is None:
            return num_waiting <= self.queue_size
        seconds = (num_waiting + self.num_running) / self._texts_per_second
        return num_waiting <= self.queue_size and seconds <= self._wait_seconds

    def submit(
        self, queries: Sequence[Query], switches: Switches, asker: _Asker | None = None
    ) -> list[asyncio.Future[Extraction | Exception]]:
        """Queues queries, all or none; a future that is cancelled gives its place up.

        Without an asker they are a request of their own. Each future gives the extraction or, as a value, why
        there is none. Raises as `check_room`.
        """
        self.check_room(len(queries))
        loop = asyncio.get_running_loop()
        asker = asker or _Asker()
        jobs = []
        for query in queries:
            job = _Job(query, switches, loop.create_future(), asker, max(self._turn, asker.end))
            asker.end = job.turn + job.num_characters
            jobs.append(job)
        self._waiting += jobs
        self._has_work.set()
        return [job.answer for job in jobs]

    async def answer(self, queries: Sequence[Query], switches: Switches) -> list[Extraction | TextError]:
        """The extraction of each query, or why its text cannot be used; raises as `check_room`."""
        futures = self.submit(queries, switches)
        try:
            return [_usable(await future) for future in futures]
        finally:
            for future in futures:
                future.cancel()

    async def stream(
        self, queries: Iterable[Query], switches: Switches, *, seconds: float
    ) -> AsyncIterator[Extraction | TextError | TimeoutError]:
        """The answers in order, each as soon as it is there; a stream keeps one batch in the queue, no more.

        What takes longer than `seconds` gives a TimeoutError.
        """
        ahead: deque[asyncio.Future[Extraction | Exception]] = deque()
        asker = _Asker()
        remaining = iter(queries)
        pending = next(remaining, None)
        try:
            while pending is not None or ahead:
                while pending is not None and len(ahead) < self._batch_size:
                    try:
                        ahead.extend(self.submit([pending], switches, asker))
                    except QueueFullError:
                        break
                    pending = next(remaining, None)
                if not ahead:
                    await asyncio.sleep(_POLL_SECONDS)
                    continue
                answer: Extraction | TextError | TimeoutError
                try:
                    async with asyncio.timeout(seconds):
                        answer = _usable(await ahead.popleft())
                except TimeoutError as error:
                    answer = error
                yield answer
        finally:
            for future in ahead:
                future.cancel()

    async def _dispatch(self) -> None:
        loop = asyncio.get_running_loop()
        last_size = 1
        while await self._wait_for_work():
            await self._wait_for_company(last_size)
            jobs = self._take()
            if not jobs:
                continue
            self._running, last_size = jobs, len(jobs)
            start = time.perf_counter()
            queries = [job.query for job in jobs]
            answers = await loop.run_in_executor(
                self._thread, self._extractors.answer, queries, jobs[0].switches
            )
            self._running = ()
            num_askers = len({job.asker for job in (*jobs, *self._waiting)})
            self._turn += sum(job.num_characters for job in jobs) // num_askers
            self._note(answers, time.perf_counter() - start)
            for job, answer in zip(jobs, answers, strict=True):
                if not job.answer.done():
                    job.answer.set_result(answer)

    async def _wait_for_work(self) -> bool:
        """False once the queue is closed and everything is answered."""
        if not self._waiting:
            self._has_work.clear()
            if self._is_closed:
                return False
            await self._has_work.wait()
        return bool(self._waiting) or not self._is_closed

    async def _wait_for_company(self, last_size: int) -> None:
        end = time.perf_counter() + _COMPANY_SECONDS
        num_before = 0
        while num_before < self.num_waiting < last_size and time.perf_counter() < end:
            num_before = self.num_waiting
            await asyncio.sleep(_PAUSE_SECONDS)

    def _take(self) -> list[_Job]:
        """The job whose turn it is, and others with the same switches, to as much as makes a batch."""
        jobs: list[_Job] = []
        others: list[_Job] = []
        num_answers = num_characters = 0
        for job in sorted(self._waiting, key=lambda job: job.turn):
            if job.answer.cancelled():
                continue
            if jobs and (
                job.switches != jobs[0].switches
                or num_answers >= self._batch_size
                or num_characters + job.num_characters > _BATCH_CHARACTERS
            ):
                others.append(job)
                continue
            jobs.append(job)
            num_answers += job.query.options.n_best
            num_characters += job.num_characters
        self._waiting = others
        self._turn = max([self._turn, *(job.turn for job in jobs[:1])])
        return jobs

    def _end_if_unwanted(self) -> None:
        """Called by the thread before each step of the model."""
        if self._running and all(job.answer.cancelled() for job in self._running):
            raise _UnwantedError

    def _note(self, answers: Sequence[Extraction | Exception], seconds: float) -> None:
        rate = len(answers) / max(seconds, 1e-6)
        before = self._texts_per_second or rate
        self._texts_per_second = _OLD_RATE_WEIGHT * before + (1 - _OLD_RATE_WEIGHT) * rate
        if self._watcher is not None:
            num_records = sum(len(answer.records) for answer in answers if not isinstance(answer, Exception))
            self._watcher.batch_done(len(answers), num_records, seconds)

    def _retry_seconds(self) -> int:
        seconds = math.ceil((self.num_waiting + self.num_running) / (self._texts_per_second or 1.0))
        return min(max(seconds, 1), _LONGEST_WAIT_SECONDS)


def _usable(answer: Extraction | Exception) -> Extraction | TextError:
    """The answer itself; an exception that is no fault of the text is raised."""
    if isinstance(answer, Exception) and not isinstance(answer, TextError):
        raise answer
    return answer
