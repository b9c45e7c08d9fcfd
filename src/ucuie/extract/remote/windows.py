"""Asks for the records of a window of a text, which is divided where its answer is cut.

Where a window gets no answer, a harmless text in its place tells whether that is the window or the endpoint.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ucuie.errors import show
from ucuie.extract.document import LONGEST_QUOTE, Answer, Part, is_in_circles, ran_on
from ucuie.extract.query import Query
from ucuie.extract.remote.answers import read_answer, scored
from ucuie.extract.remote.client import EndpointError, RefusedError, Reply, SilentError
from ucuie.extract.remote.constraints import Dialect
from ucuie.extract.remote.messages import messages
from ucuie.extract.remote.session import Session
from ucuie.language.align import align
from ucuie.language.linearize import order_records
from ucuie.schema import TASKS, Dropped

logger = logging.getLogger(__name__)

NOT_ANSWERED = "the endpoint gave no answer"
REFUSED = "the model refuses"
_SMALLEST_DIVIDED = 200
"""Characters of a window that is still divided where its answer is cut."""
_HARMLESS = "It was a quiet day, and nothing happened that anybody would tell of. "
_FEW_ATTEMPTS = 2
"""Where many have failed before."""


@dataclass(frozen=True)
class WindowReader:
    """Asks one endpoint for the records of windows.

    Args:
        session: with the endpoint.
        dialect: what answers are held to.
        fields: of every request, beside those of the dialect.
        may_ask_freely: where the endpoint refuses a window, it is asked for again without the dialect.
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
        if reply.is_cut and _is_worth_dividing(reply, text) and part.divide():
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


def _is_worth_dividing(reply: Reply, text: str) -> bool:
    return len(text) > _SMALLEST_DIVIDED and not is_in_circles(len(reply.content), len(text))
