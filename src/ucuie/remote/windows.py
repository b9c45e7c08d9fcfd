"""Asks for the records of a window of a text, which is divided where its answer is cut.

In: a window. Out: what was found in it, with offsets that count from its start. Which windows a text has is
`documents`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ucuie.align import align
from ucuie.errors import show
from ucuie.instructions.chat import EndpointError
from ucuie.linearize import order_records
from ucuie.outputs import LONGEST_QUOTE, is_in_circles, ran_on
from ucuie.queries import Query
from ucuie.remote.answers import read_answer, scored
from ucuie.remote.client import RefusedError, Reply
from ucuie.remote.constraints import Dialect
from ucuie.remote.messages import messages
from ucuie.remote.session import Session
from ucuie.schema import TASKS, Dropped, Record, Span
from ucuie.windows import split_windows

logger = logging.getLogger(__name__)

NOT_ANSWERED = "the endpoint gave no answer"
REFUSED = "the model refuses"
_SMALLEST_DIVIDED = 200
"""Characters of a window that is still divided where its answer is cut."""
_MOST_FAILURES = 5
"""So many windows that get no answer, with none between them that does: it is not the windows."""


@dataclass(frozen=True)
class Answer:
    """What was found in a window, by its pieces: each with its place in the window and its records.

    Args:
        pieces: in the order of the text; a window that was not divided is one.
        dropped: what else was answered.
        truncated: an answer was cut, or there is none.
    """

    pieces: tuple[tuple[Span, tuple[Record, ...]], ...] = ()
    dropped: tuple[Dropped, ...] = ()
    truncated: bool = False

    @classmethod
    def of_pieces(cls, spans: Sequence[Span], answers: Sequence["Answer"]) -> "Answer":
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


class Failures:
    """Counts the windows in a row that get no answer, and gives up where it is not the windows."""

    def __init__(self) -> None:
        self._num_in_row = 0

    def end(self) -> None:
        """A window has got its answer."""
        self._num_in_row = 0

    def add(self, error: RefusedError) -> None:
        """A window has got none.

        Raises:
            EndpointError: nor have those before it.
        """
        self._num_in_row += 1
        if self._num_in_row >= _MOST_FAILURES:
            raise EndpointError(
                f"{error}; so it went {self._num_in_row} times in a row. Look at the server; if it "
                "speaks of its context or of tokens, lower window_characters or max_new_tokens"
            )


@dataclass(frozen=True)
class WindowReader:
    """Asks one endpoint for the records of windows.

    Args:
        session: with the endpoint.
        dialect: what answers are held to.
        fields: of every request, beside those of the dialect.
        failures: of all that was asked so far.
        may_ask_freely: where the endpoint refuses a window, it is asked for again without the dialect.
    """

    session: Session
    dialect: Dialect
    fields: Mapping[str, Any]
    failures: Failures
    may_ask_freely: bool

    async def read(self, query: Query, text: str) -> Answer:
        """What the model finds in a window of the query's text.

        A window that gets no answer is dropped, with the reason NOT_ANSWERED.

        Raises:
            EndpointError: the endpoint will answer no question, or has answered none of the last ones.
        """
        try:
            reply = await self._ask(query, text)
        except RefusedError as error:
            self.failures.add(error)
            logger.warning("no answer for the text %s: %s", show(query.id), error)
            return Answer(dropped=(Dropped(reason=NOT_ANSWERED, value=str(error)),), truncated=True)
        self.failures.end()
        if reply.is_cut and _is_worth_dividing(reply, text):
            spans = list(split_windows(text, range_of_characters, len(text) * 2 // 3))
            return Answer.of_pieces(spans, [await self.read(query, text[start:end]) for start, end in spans])
        return self._answer(reply, query, text)

    async def _ask(self, query: Query, text: str) -> Reply:
        assert query.task in TASKS
        question = messages(query.schema, text, query.task, form=self.dialect.form)
        held = self.dialect.fields(query.schema, text, query.task)
        try:
            return await self.session.ask(question, {**self.fields, **held})
        except RefusedError as error:
            if not held or not self.may_ask_freely:
                raise
            # Perhaps it is this one's grammar that is too much for it; the answer is read with the same care.
            logger.info("without its constraint, the text %s is asked for again: %s", show(query.id), error)
            return await self.session.ask(question, self.fields)

    def _answer(self, reply: Reply, query: Query, text: str) -> Answer:
        if reply.refusal:
            return Answer(dropped=(Dropped(reason=REFUSED, value=reply.refusal[:LONGEST_QUOTE]),))
        parsed = read_answer(reply.content, text, query.schema, form=self.dialect.form)
        alignment = align(parsed.frames, text, query.schema)
        records = order_records(scored(alignment, reply.content, reply.tokens), query.schema)
        dropped = (*parsed.dropped, *alignment.dropped)
        if reply.is_cut:
            dropped = (*dropped, ran_on(reply.content))
        return Answer((((0, len(text)), records),), dropped, truncated=reply.is_cut)


def range_of_characters(text: str) -> range:
    """Where each "token" of a text begins that is measured in characters: those of the model are unknown."""
    return range(len(text))


def _is_worth_dividing(reply: Reply, text: str) -> bool:
    return len(text) > _SMALLEST_DIVIDED and not is_in_circles(len(reply.content), len(text))
