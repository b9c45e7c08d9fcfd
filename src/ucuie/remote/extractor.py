"""Extracts with a language model behind an OpenAI-compatible server: texts in, extractions out.

    extractor = RemoteExtractor("http://localhost:8000/v1", "Qwen/Qwen3-8B")
    extractor.extract("Ada Lovelace lived in London.", ["person", "city"]).records

Asked and answered as `Extractor` is; windows of several texts are asked for at the same time, as many as the
endpoint is to bear. A model that was not trained for it answers in a form that it is held to, if the endpoint
can do that; whatever it says is read, aligned with the text, and dropped where it does not stand there.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Unpack

from pydantic import ValidationError

from ucuie.align import align
from ucuie.encode import check_encodable
from ucuie.errors import ConfigError, TextError, UserError, did_you_mean, show
from ucuie.extraction import Extraction
from ucuie.instructions.chat import Endpoint, EndpointError
from ucuie.linearize import order_records
from ucuie.merging import RecordMerger
from ucuie.options import OptionArguments
from ucuie.queries import Query, queries_of, raise_faults
from ucuie.remote.answers import read_answer, scored
from ucuie.remote.client import ChatClient, RefusedError, Reply
from ucuie.remote.constraints import (
    CONSTRAINTS,
    PROBE_MESSAGES,
    PROBE_SCHEMA,
    PROBE_TEXT,
    PROBE_TOKENS,
    Constraint,
    Dialect,
    dialects_for,
)
from ucuie.remote.messages import messages
from ucuie.remote.session import EventLoop, Session
from ucuie.schema import TASKS, Dropped, Record, Span, Task
from ucuie.windows import split_windows

logger = logging.getLogger(__name__)

NOT_ANSWERED = "the endpoint gave no answer"
REFUSED = "the model refuses"
RAN_ON = "the output did not come to an end"
WINDOW_CHARACTERS = 2_000
"""About 500 tokens: a page, which models copy from without losing their place."""
MAX_NEW_TOKENS = 4_096
NUM_CONCURRENT = 8
_MOST_OUTPUT_PER_TEXT = 8
"""An output that has so many times the characters of its text is no answer: the model goes in circles."""
_SMALLEST_DIVIDED = 200
"""Characters of a window that is still divided where its answer is cut."""
_TEXTS_AHEAD = 4
"""So many times the concurrent requests: texts that are under way while the first of them is waited for."""
_MOST_FAILURES = 5
"""So many windows that get no answer, with none between them that does: it is not the windows."""
_LONGEST_QUOTE = 200

_dialects: dict[tuple[str, str, Constraint], Dialect] = {}
"""What was found out about the endpoints that this process has asked."""


class RemoteExtractor:
    """Extracts records from texts with a model that an OpenAI-compatible endpoint serves.

    Its first question to an endpoint, before any text, is what constraint it obeys. Safe to use from several
    threads, and where an event loop runs.

    Args:
        base_url: up to and without `/chat/completions`, such as "http://localhost:8000/v1".
        model: the name that the endpoint knows the model by.
        constraint: what answers are held to: "grammar" (of the output language, with pieces of the text for
            fillers), "json-schema" (any fillers), "none", or "auto", the first of these that is obeyed.
        num_concurrent: requests at the same time, at most.
        window_characters: longer texts are read in windows of whole sentences with so many characters.
        max_new_tokens: where an answer is cut; None leaves it to the endpoint. A window whose answer is cut
            is divided, and the extraction marked as truncated only where that does not help.
        scores: ask for the probabilities of tokens, and give fillers the geometric mean of theirs as a score.
            They are the model's own, not calibrated. Without, or where the endpoint has none, there are none.
        **endpoint: of `Endpoint`: api_key, temperature (0 unless given), timeout_seconds, max_attempts,
            backoff_seconds.

    Raises:
        ConfigError: an option is impossible or unknown.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        constraint: Constraint = "auto",
        num_concurrent: int = NUM_CONCURRENT,
        window_characters: int = WINDOW_CHARACTERS,
        max_new_tokens: int | None = MAX_NEW_TOKENS,
        scores: bool = False,
        **endpoint: Any,
    ) -> None:
        if constraint not in CONSTRAINTS:
            raise ConfigError(f"no constraint {show(constraint)}{did_you_mean(str(constraint), CONSTRAINTS)}")
        self._constraint: Constraint = constraint
        self._num_concurrent = _positive("num_concurrent", num_concurrent)
        self._window_characters = _positive("window_characters", window_characters)
        self._max_new_tokens = None if max_new_tokens is None else _positive("max_new_tokens", max_new_tokens)
        self._has_scores = scores
        options = {"temperature": 0.0, "timeout_seconds": 120.0} | endpoint
        self._client = ChatClient(_endpoint(base_url, model, options), self._num_concurrent)
        self._num_failures = 0

    @property
    def model_name(self) -> str:
        """What the extractions call the model; once that is known, with what its answers are held to."""
        model = self._client.endpoint.model
        return f"{model} ({self._dialect.constraint})" if self._dialect else model

    @property
    def constraint(self) -> str | None:
        """What answers are held to, and how the endpoint is told; None until it was asked."""
        return None if self._dialect is None else str(self._dialect)

    @property
    def identity(self) -> str:
        """The model and all options that change what it answers, as one string; without the API key."""
        endpoint = self._client.endpoint
        limits = (self._constraint, self._window_characters, self._max_new_tokens, self._has_scores)
        return repr((self._client.address, endpoint.model, endpoint.temperature, limits))

    def connect(self) -> str:
        """Finds out what the endpoint obeys, unless that is known, and says it as `constraint` does.

        Raises:
            EndpointError: the endpoint cannot be reached, does not answer, or does not obey the constraint
                that was asked for; says what to do.
            ConfigError: the URL is none.
        """
        with self._requests() as submit:
            return str(submit(self._find_dialect).result())

    def extract(
        self,
        text: str,
        schema: Any,
        *,
        id: str = "1",  # noqa: A002  the extraction's own word
        task: Task | None = None,
        **options: Unpack[OptionArguments],
    ) -> Extraction:
        """The records of one text.

        Args:
            text: not blank, of any length.
            schema: whatever `Schema.of` reads.
            id: of the extraction.
            task: how it is put in words; None takes the task that the schema has the shape of.
            **options: see `AnswerOptions`; only thresholds have a meaning here.

        Raises:
            SchemaError: the schema cannot be read.
            ConfigError: there is no such task, or an option is impossible here.
            TextError: the text is blank or not encodable.
            EndpointError: the endpoint cannot be reached, refuses, or does not obey the constraint asked for.
        """
        (query,) = queries_of([text], schema, task, options)
        (extraction,) = self._answer_all([query])
        return extraction.model_copy(update={"id": id})

    def extract_batch(
        self,
        texts: Sequence[str],
        schema: Any,
        *,
        task: Task | None = None,
        **options: Unpack[OptionArguments],
    ) -> list[Extraction]:
        """The records of several texts, in their order; ids are positions from 1.

        Raises:
            SchemaError: the schema cannot be read.
            ConfigError: there is no such task, or an option is impossible here.
            TextError: texts are blank or not encodable; all of them at once, before any work.
            EndpointError: as of `extract`.
        """
        return self._answer_all(list(queries_of(texts, schema, task, options)))

    def extract_iter(
        self,
        texts: Iterable[str],
        schema: Any,
        *,
        task: Task | None = None,
        **options: Unpack[OptionArguments],
    ) -> Iterator[Extraction]:
        """The records of a stream of texts, in their order, while they come in; ids are positions from 1.

        Raises:
            SchemaError: the schema cannot be read.
            ConfigError: there is no such task, or an option is impossible here.
            TextError: a text is blank or not encodable; raised where it stands in the stream.
            EndpointError: as of `extract`.
        """
        return self.answer(queries_of(texts, schema, task, options))

    def answer(self, queries: Iterable[Query]) -> Iterator[Extraction]:
        """The extraction of each query, in their order, many of them under way at a time.

        A window that gets no answer, however often it is asked for, is dropped with the reason NOT_ANSWERED
        and its text marked as truncated; the others go on. Only several in a row end all.

        Raises:
            TextError: a text is unusable; raised where it stands, after the extractions before it.
            ConfigError: the task or an option is none that a remote model has.
            EndpointError: as of `extract`; after the extractions that were finished by then.
        """
        fault: UserError | None = None
        with self._requests() as submit:
            running: deque[Future[Extraction]] = deque()
            remaining = iter(queries)
            while True:
                while fault is None and len(running) < _TEXTS_AHEAD * self._num_concurrent:
                    query = next(remaining, None)
                    if query is None:
                        break
                    try:
                        self._check(query)
                    except UserError as error:
                        fault = error
                        break
                    running.append(submit(self._answer_query, query))
                if not running:
                    break
                yield running.popleft().result()
        if fault is not None:
            raise fault

    def faults(self, queries: Iterable[Query]) -> dict[int, UserError]:
        """Why queries cannot be answered, by their position; empty if all can.

        Raises:
            ConfigError: the task or an option is none that a remote model has.
        """
        faults: dict[int, UserError] = {}
        for index, query in enumerate(queries):
            try:
                self._check(query)
            except TextError as error:
                faults[index] = error
        return faults

    def _answer_all(self, queries: Sequence[Query]) -> list[Extraction]:
        raise_faults(self.faults(queries), len(queries))
        return list(self.answer(queries))

    def _check(self, query: Query) -> None:
        if not query.text.strip():
            raise TextError(f"the text {show(query.text)} is empty; there is nothing to extract from")
        check_encodable(query.text, "the text")
        check_encodable(query.id, "the id of the text")
        query.options.threshold.check(query.schema)
        if query.task not in TASKS:
            raise ConfigError(
                f"the task {show(query.task)} is for models that learned it; a model behind an endpoint "
                f"knows {', '.join(TASKS)}"
            )
        for name, is_default in (
            ("end_bias", query.options.end_bias == 0),
            ("explain", not query.options.explain),
            ("n_best", query.options.n_best == 1),
        ):
            if not is_default:
                raise ConfigError(f"{name} needs the inside of the model, which an endpoint does not give")

    @property
    def _dialect(self) -> Dialect | None:
        return _dialects.get(self._key)

    @property
    def _key(self) -> tuple[str, str, Constraint]:
        return self._client.endpoint.base_url, self._client.endpoint.model, self._constraint

    @contextmanager
    def _requests(self) -> Iterator[Callable[..., Future[Any]]]:
        """What starts a coroutine that makes requests; all that are left over at the end are cancelled."""
        with EventLoop() as loop:
            session = loop.submit(Session.open(self._client, self._num_concurrent)).result()
            try:
                yield lambda work, *arguments: loop.submit(work(session, *arguments))
            finally:
                loop.cancel()
                loop.submit(session.http.aclose()).result()

    async def _find_dialect(self, session: Session) -> Dialect:
        async with session.probing:
            if self._dialect is None:
                _dialects[self._key] = await self._probe(session)
                logger.info("%s is held to: %s", self._client.address, self._dialect)
        assert self._dialect is not None
        return self._dialect

    async def _probe(self, session: Session) -> Dialect:
        """The first constraint that the endpoint obeys.

        Raises:
            EndpointError: it obeys none of those asked for.
        """
        refusals = []
        for dialect in dialects_for(self._constraint):
            fields = dialect.fields(PROBE_SCHEMA, PROBE_TEXT, "NER") | {"max_tokens": PROBE_TOKENS}
            try:
                reply = await session.ask(PROBE_MESSAGES, fields, max_attempts=2)
            except RefusedError as error:
                refusals.append(str(error))
                continue
            if dialect.is_obeyed(reply.content):
                return dialect
        if self._constraint in ("auto", "none"):
            raise EndpointError(
                f"{refusals[-1]}; the question was a plain one, so check the name of the model"
            )
        said = f" At last it said: {refusals[-1]}." if refusals else ""
        raise EndpointError(
            f"{show(self._client.address)} does not obey the constraint {show(self._constraint)}, in none of "
            f"the ways it can be asked for.{said} Take 'auto' for the best one that it does obey"
        )

    async def _answer_query(self, session: Session, query: Query) -> Extraction:
        start = time.perf_counter()
        dialect = await self._find_dialect(session)
        windows = split_windows(query.text, lambda block: range(len(block)), self._window_characters)
        merger = RecordMerger(query.schema)
        dropped: list[Dropped] = []
        truncated = False
        running: deque[tuple[Span, asyncio.Task[_Answer]]] = deque()
        try:
            while True:
                while len(running) < self._num_concurrent and (window := next(windows, None)) is not None:
                    piece = query.text[window[0] : window[1]]
                    running.append(
                        (window, asyncio.create_task(self._answer_window(session, dialect, query, piece)))
                    )
                if not running:
                    break
                window, task = running.popleft()
                answer = await task
                merger.settle(window[0])
                for (piece_start, piece_end), records in answer.pieces:
                    merger.add((window[0] + piece_start, window[0] + piece_end), records)
                dropped += answer.dropped
                truncated |= answer.truncated
        finally:
            for _, task in running:
                task.cancel()
            await asyncio.gather(*(task for _, task in running), return_exceptions=True)
        records, left_out = query.options.threshold.keep(merger.finish(), dropped)
        return Extraction(
            id=query.id,
            text=query.text,
            records=records,
            dropped=left_out,
            truncated=truncated,
            model=self.model_name,
            seconds=round(time.perf_counter() - start, 6),
        )

    async def _answer_window(self, session: Session, dialect: Dialect, query: Query, text: str) -> "_Answer":
        """What the model finds in a window, which is divided where its answer is cut."""
        try:
            reply = await self._ask(session, dialect, query, text)
        except RefusedError as error:
            self._num_failures += 1
            if self._num_failures >= _MOST_FAILURES:
                raise EndpointError(
                    f"{error}; so it went {self._num_failures} times in a row. Look at the server; if it "
                    "speaks of its context or of tokens, lower window_characters or max_new_tokens"
                ) from None
            logger.warning("no answer for the text %s: %s", show(query.id), error)
            return _Answer((), (Dropped(reason=NOT_ANSWERED, value=str(error)),), truncated=True)
        self._num_failures = 0
        if reply.is_cut and self._is_worth_dividing(reply, text):
            spans = list(split_windows(text, lambda block: range(len(block)), len(text) * 2 // 3))
            answers = [
                await self._answer_window(session, dialect, query, text[start:end]) for start, end in spans
            ]
            return _Answer.of_pieces(spans, answers)
        return self._read(reply, dialect, query, text)

    def _is_worth_dividing(self, reply: Reply, text: str) -> bool:
        return len(text) > _SMALLEST_DIVIDED and len(reply.content) <= _MOST_OUTPUT_PER_TEXT * len(text)

    async def _ask(self, session: Session, dialect: Dialect, query: Query, text: str) -> Reply:
        assert query.task in TASKS
        question = messages(query.schema, text, query.task, is_json=dialect.constraint != "grammar")
        fields: dict[str, Any] = {"logprobs": True} if self._has_scores else {}
        if self._max_new_tokens is not None:
            fields["max_tokens"] = self._max_new_tokens
        held = dialect.fields(query.schema, text, query.task)
        try:
            return await session.ask(question, fields | held)
        except RefusedError as error:
            if not held or self._constraint != "auto":
                raise
            # Perhaps it is this one's grammar that is too much for it; the answer is read with the same care.
            logger.info("without its constraint, the text %s is asked for again: %s", show(query.id), error)
            return await session.ask(question, fields)

    def _read(self, reply: Reply, dialect: Dialect, query: Query, text: str) -> "_Answer":
        dropped: tuple[Dropped, ...] = ()
        if reply.refusal:
            dropped = (Dropped(reason=REFUSED, value=reply.refusal[:_LONGEST_QUOTE]),)
            return _Answer((), dropped, truncated=False)
        parsed = read_answer(reply.content, text, query.schema, is_json=dialect.constraint != "grammar")
        alignment = align(parsed.frames, text, query.schema)
        records = scored(alignment, reply.content, reply.tokens)
        if reply.is_cut:
            dropped = (Dropped(reason=RAN_ON, value=reply.content[-_LONGEST_QUOTE:]),)
        return _Answer(
            (((0, len(text)), order_records(records, query.schema)),),
            (*parsed.dropped, *alignment.dropped, *dropped),
            truncated=reply.is_cut,
        )


@dataclass(frozen=True)
class _Answer:
    """What was found in a window, by its pieces: each with its place in the window and its records."""

    pieces: tuple[tuple[Span, tuple[Record, ...]], ...]
    dropped: tuple[Dropped, ...]
    truncated: bool

    @classmethod
    def of_pieces(cls, spans: Sequence[Span], answers: Sequence["_Answer"]) -> "_Answer":
        """The answers to the pieces of a window as one."""
        return cls(
            tuple(
                ((outer[0] + start, outer[0] + end), records)
                for outer, answer in zip(spans, answers, strict=True)
                for (start, end), records in answer.pieces
            ),
            tuple(one for answer in answers for one in answer.dropped),
            any(answer.truncated for answer in answers),
        )


def _endpoint(base_url: str, model: str, options: dict[str, Any]) -> Endpoint:
    try:
        return Endpoint(base_url=base_url, model=model, **options)
    except ValidationError as error:
        lines = []
        for fault in error.errors(include_url=False):
            name = str(fault["loc"][0]) if fault["loc"] else "endpoint"
            value = "" if name == "api_key" else f" {show(fault['input'])}"
            hint = "; it begins with http:// or https://" if name == "base_url" else ""
            lines.append(f"{name}{value}: {fault['msg']}{hint}")
        raise ConfigError("; ".join(lines)) from None


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise ConfigError(f"{name} is {value:,}; it has to be at least 1")
    return value
