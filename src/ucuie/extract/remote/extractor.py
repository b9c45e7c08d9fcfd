"""The public face of extraction with a language model behind an OpenAI-compatible server.

    extractor = RemoteExtractor("http://localhost:8000/v1", "Qwen/Qwen3-8B")
    extractor.extract("Ada Lovelace lived in London.", ["person", "city"]).records

Windows of several texts are asked for at the same time. A model that was not trained for it answers in a form
that it is held to, if the endpoint can do that; whatever it says is read, aligned with the text, and dropped
where it does not stand there. Where a window gets no answer, a harmless text in its place tells whether that
is the window or the endpoint; one whose answer is cut is divided.
"""

import json
import logging
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from ucuie.errors import ConfigError, did_you_mean, show
from ucuie.extract.document import (
    LONGEST_QUOTE,
    Answer,
    Document,
    Part,
    extraction_of,
    group_queries,
    is_in_circles,
    ran_on,
    split_schema,
)
from ucuie.extract.options import NEED_THE_MODEL, positive
from ucuie.extract.query import AnswersQueries, Query, until_fault
from ucuie.extract.remote.answers import read_answer, scored
from ucuie.extract.remote.client import ChatClient, Endpoint, EndpointError, RefusedError, Reply, SilentError
from ucuie.extract.remote.constraints import CONSTRAINTS, Constraint, Dialect, find_dialect, known_dialect
from ucuie.extract.remote.messages import describe_schema, messages
from ucuie.extract.remote.session import Session, in_order, requests
from ucuie.extract.result import Extraction
from ucuie.language.align import align
from ucuie.language.linearize import order_records
from ucuie.schema import TASKS, Dropped, Schema

logger = logging.getLogger(__name__)

WINDOW_CHARACTERS = 2_000
"""About 500 tokens: a page, which models copy from without losing their place."""
MAX_NEW_TOKENS = 4_096
NUM_CONCURRENT = 8
SCHEMA_CHARACTERS = 10_000
"""That describe types in one question: with a window and the longest answer they fit into 8,192 tokens."""
NOT_ANSWERED = "the endpoint gave no answer"
REFUSED = "the model refuses"
_SMALLEST_DIVIDED = 200
"""Characters of a window that is still divided where its answer is cut."""
_HARMLESS = "It was a quiet day, and nothing happened that anybody would tell of. "
_FEW_ATTEMPTS = 2
"""Where many have failed before."""
_TEXTS_AHEAD = 4
"""So many times the concurrent requests: texts that are under way while the first of them is waited for."""


class RemoteExtractor(AnswersQueries):
    """Extracts records from texts with a model that an OpenAI-compatible endpoint serves.

    It has the methods of `Extractor`, for the tasks "NER", "RE", "EE" and "ABSA", with thresholds as the only
    options; whatever needs the inside of a model is a ConfigError. Each of them may raise an EndpointError
    beside the errors of `Extractor`: the endpoint cannot be reached, refuses, or does not obey the constraint
    that was asked for.

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
        self._window_characters = positive("window_characters", window_characters)
        self._fields: dict[str, Any] = {"logprobs": True} if scores else {}
        """Of every request for a window."""
        if max_new_tokens is not None:
            self._fields["max_tokens"] = positive("max_new_tokens", max_new_tokens)
        options = {"temperature": 0.0, "timeout_seconds": 120.0} | endpoint
        self._client = ChatClient(
            Endpoint.of(base_url=base_url, model=model, **options),
            positive("num_concurrent", num_concurrent),
        )

    @property
    def model_name(self) -> str:
        """The name of the model in extractions; once that is known, with what its answers are held to."""
        model, dialect = self._client.endpoint.model, known_dialect(self._client, self._constraint)
        return f"{model} ({dialect.constraint})" if dialect else model

    @property
    def constraint(self) -> str | None:
        """The form that answers are held to, and how the endpoint is told; None until it was asked."""
        dialect = known_dialect(self._client, self._constraint)
        return None if dialect is None else str(dialect)

    @property
    def asked(self) -> dict[str, Any]:
        """The model and all options that change what it answers, as plain types; without the API key."""
        return {
            "endpoint": self._client.address,
            "endpoint_model": self._client.endpoint.model,
            "temperature": self._client.endpoint.temperature,
            "constraint": self._constraint,
            "window_characters": self._window_characters,
            "max_new_tokens": self._fields.get("max_tokens"),
            "scores": "logprobs" in self._fields,
        }

    @property
    def identity(self) -> str:
        """The same as one string."""
        return json.dumps(self.asked)

    def connect(self) -> str:
        """Finds out what the endpoint obeys, unless that is known, and says it as `constraint` does.

        Raises:
            EndpointError: the endpoint cannot be reached, does not answer, or does not obey the constraint
                that was asked for; says what to do.
            ConfigError: the URL is none.
        """
        with requests(self._client) as submit:
            return str(submit(find_dialect, self._constraint).result())

    def check(self, query: Query) -> None:
        """Refuse a query that is none for a model behind an endpoint; raises as `AnswersQueries.check`."""
        query.check()
        if query.task not in TASKS:
            raise ConfigError(
                f"the task {show(query.task)} is for models that learned it; a model behind an endpoint "
                f"knows {', '.join(TASKS)}"
            )
        given = [name for name in NEED_THE_MODEL if query.options.is_given(name)]
        if query.elements is not None:
            given.append("elements")
        if given:
            raise ConfigError(f"{given[0]} needs the inside of the model, which an endpoint does not give")

    def answer(self, queries: Iterable[Query]) -> Generator[Extraction]:
        """The extraction of each query, in their order, many of them under way at a time.

        A window that gets no answer, however often it is asked for, is dropped with the reason NOT_ANSWERED
        and its text marked as truncated; the others go on. Only if a harmless text in its place gets none
        either, that ends all.

        Raises:
            TextError: a text is unusable; raised where it stands, after the extractions before it.
            ConfigError: the task or an option is none that a remote model has.
            EndpointError: the endpoint gives no answers; after the extractions that were finished by then.
        """
        faults: list[BaseException] = []
        usable = until_fault(self._checked(queries), faults)
        running: deque[Future[Extraction]] = deque()
        with requests(self._client) as submit:
            while True:
                room = _TEXTS_AHEAD * self._client.num_concurrent - len(running)
                running.extend(submit(self._answer_query, query) for query in islice(usable, room))
                if not running:
                    break
                yield running.popleft().result()
        if faults:
            raise faults[0]

    def _checked(self, queries: Iterable[Query]) -> Iterator[Query]:
        for query in queries:
            self.check(query)
            yield query

    async def _answer_query(self, session: Session, query: Query) -> Extraction:
        """The extraction of a query, some of its windows under way at a time."""
        start = time.perf_counter()
        dialect = await find_dialect(session, self._constraint)
        reader = WindowReader(session, dialect, self._fields, may_ask_freely=self._constraint == "auto")
        # In characters: the tokens of the model are unknown.
        documents = [
            Document(one, lambda text: range(len(text)), window=self._window_characters)
            for one in group_queries(query, _groups(query.schema))
        ]
        reading = (reader.read(part) for document in documents for part in document.parts())
        async with aclosing(in_order(reading, self._client.num_concurrent)) as parts:
            async for part in parts:
                part.document.add(part)
        return extraction_of(
            documents,
            [query.options.threshold.keep(one.merged(), one.dropped) for one in documents],
            model=self.model_name,
            seconds=time.perf_counter() - start,
        )


@lru_cache(maxsize=8)
def _groups(schema: Schema) -> list[Schema]:
    """The schema, or parts of it where its description would fill a question."""
    return split_schema(schema, lambda group: len(describe_schema(group)) <= SCHEMA_CHARACTERS)


@dataclass(frozen=True)
class WindowReader:
    """Asks one endpoint for the records of windows, each with the fields beside those of the dialect.

    Where the endpoint refuses a window and it `may_ask_freely`, it is asked for again without the dialect.
    """

    session: Session
    dialect: Dialect
    fields: Mapping[str, Any]
    may_ask_freely: bool

    async def read(self, part: Part) -> Part:
        """The part, with its answer or those of its pieces.

        A window that gets no answer, though another text in its place does, is dropped, with the reason
        NOT_ANSWERED.

        Raises:
            EndpointError: the endpoint will answer no question.
        """
        query, text = part.document.query, part.text
        try:
            # One turn for all it takes: those who wait need not find out for themselves.
            async with self.session.turns:
                reply = await self._ask_with_care(query, text)
        except RefusedError as error:
            logger.warning("no answer for the text %s: %s", show(query.id), error)
            part.answer = Answer(dropped=(Dropped(reason=NOT_ANSWERED, value=str(error)),), truncated=True)
            return part
        is_hopeless = len(text) <= _SMALLEST_DIVIDED or is_in_circles(len(reply.content), len(text))
        if reply.is_cut and not is_hopeless and part.divide():
            for piece in part.pieces:
                await self.read(piece)
        else:
            part.answer = self._answer(reply, query, text)
        return part

    async def _ask_with_care(self, query: Query, text: str) -> Reply:
        """As `_ask`; what is refused is refused because of this text."""
        try:
            return await self._ask(query, text)
        except RefusedError as error:
            try:
                await self._ask(query, _harmless(text), max_attempts=_FEW_ATTEMPTS)
            except RefusedError:
                raise EndpointError(
                    f"{error}; nor does it answer about a harmless text of that size. Look at the server; if "
                    "it speaks of its context or of tokens, lower window_characters or max_new_tokens"
                ) from None
        # The endpoint may have come back just now.
        return await self._ask(query, text, max_attempts=_FEW_ATTEMPTS)

    async def _ask(self, query: Query, text: str, *, max_attempts: int | None = None) -> Reply:
        assert query.task in TASKS
        question = messages(query.schema, text, query.task, form=self.dialect.form)
        held = self.dialect.fields(query.schema, text, query.task)
        try:
            return await self.session.ask(question, {**self.fields, **held}, max_attempts=max_attempts)
        except RefusedError as error:
            if not held or not self.may_ask_freely or isinstance(error, SilentError):
                raise
            # Perhaps it is this one's grammar that is too much for it; the answer is read with the same care.
            logger.info("without its constraint, the text %s is asked for again: %s", show(query.id), error)
            return await self.session.ask(question, self.fields, max_attempts=max_attempts)

    def _answer(self, reply: Reply, query: Query, text: str) -> Answer:
        if reply.refusal:
            return Answer(dropped=(Dropped(reason=REFUSED, value=reply.refusal[:LONGEST_QUOTE]),))
        parsed = read_answer(reply.content, text, query.schema, form=self.dialect.form)
        alignment = align(parsed.frames, text, query.schema)
        records = order_records(scored(alignment, reply.content, reply.tokens), query.schema)
        dropped = (*parsed.dropped, *alignment.dropped)
        if reply.is_cut:
            dropped = (*dropped, ran_on(reply.content))
        return Answer(records, dropped, truncated=reply.is_cut)


def _harmless(text: str) -> str:
    """With as many bytes as a text, whose number of tokens follows its bytes better than its characters."""
    size = max(len(text.encode()), len(_HARMLESS))
    return (_HARMLESS * (size // len(_HARMLESS) + 1))[:size].rstrip()
