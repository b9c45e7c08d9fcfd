"""The public face of extraction with a language model behind an OpenAI-compatible server.

    extractor = RemoteExtractor("http://localhost:8000/v1", "Qwen/Qwen3-8B")
    extractor.extract("Ada Lovelace lived in London.", ["person", "city"]).records

Asked and answered as `Extractor` is; windows of several texts are asked for at the same time, as many as the
endpoint is to bear. A model that was not trained for it answers in a form that it is held to, if the endpoint
can do that; whatever it says is read, aligned with the text, and dropped where it does not stand there.
"""

import json
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import aclosing
from functools import lru_cache
from itertools import islice
from typing import Any

from ucuie.errors import ConfigError, did_you_mean, show
from ucuie.extract.document import Document, extraction_of, group_queries, split_schema
from ucuie.extract.options import NEED_THE_MODEL, positive
from ucuie.extract.query import AnswersQueries, Query, until_fault
from ucuie.extract.remote.client import ChatClient, Endpoint
from ucuie.extract.remote.constraints import CONSTRAINTS, Constraint, find_dialect, known_dialect
from ucuie.extract.remote.messages import describe_schema
from ucuie.extract.remote.session import Session, in_order, requests
from ucuie.extract.remote.windows import WindowReader
from ucuie.extract.result import Extraction
from ucuie.schema import TASKS, Schema

WINDOW_CHARACTERS = 2_000
"""About 500 tokens: a page, which models copy from without losing their place."""
MAX_NEW_TOKENS = 4_096
NUM_CONCURRENT = 8
SCHEMA_CHARACTERS = 10_000
"""That describe types in one question: with a window and the longest answer they fit into 8,192 tokens."""
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
        """What the extractions call the model; once that is known, with what its answers are held to."""
        model, dialect = self._client.endpoint.model, known_dialect(self._client, self._constraint)
        return f"{model} ({dialect.constraint})" if dialect else model

    @property
    def constraint(self) -> str | None:
        """What answers are held to, and how the endpoint is told; None until it was asked."""
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
        documents = [
            Document(one, _characters, window=self._window_characters)
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


def _characters(text: str) -> range:
    """Where each "token" of a text begins that is measured in characters: those of the model are unknown."""
    return range(len(text))


@lru_cache(maxsize=8)
def _groups(schema: Schema) -> list[Schema]:
    """The schema, or parts of it where its description would fill a question."""
    return split_schema(schema, lambda group: len(describe_schema(group)) <= SCHEMA_CHARACTERS)
