"""Finds out what the answers of an endpoint can be held to, before any text is sent there.

Many servers ignore what they do not know without a word. So a constraint counts as understood only if it is
obeyed: the question that tries it asks for something that the constraint does not allow.
"""

import logging
import re

from ucuie.errors import show
from ucuie.instructions.chat import EndpointError
from ucuie.remote.client import ChatClient, RefusedError, SilentError
from ucuie.remote.constraints import Constraint, Dialect, dialects_for
from ucuie.remote.session import Session
from ucuie.schema import Schema

logger = logging.getLogger(__name__)

_NAME = "ucuie probe"
_SCHEMA = Schema.of([_NAME])
_TEXT = "Ada met Bob."
_QUESTION = ({"role": "user", "content": "Say hello to me in one short English sentence, please."},)
_MAX_TOKENS = 512
"""For a model that thinks first."""
_MAX_ATTEMPTS = 2
_HELD_ANSWERS = {
    "grammar": re.compile(rf"\s*\{{(\}}|\({_NAME}: )"),
    "json-schema": re.compile(r'\s*\{\s*"records"\s*:'),
    "none": re.compile(""),
}
"""The answers that only the constraint explains."""

_found: dict[tuple[str, str, Constraint], Dialect] = {}
"""By the URL and model of the endpoints that this process has asked."""


class Probe:
    """Asks an endpoint for the best constraint that it obeys; of equal endpoints only once.

    Args:
        client: of the endpoint.
        constraint: what is asked for.
    """

    def __init__(self, client: ChatClient, constraint: Constraint) -> None:
        self._address = client.address
        self._constraint = constraint
        self._key = (client.endpoint.base_url, client.endpoint.model, constraint)

    @property
    def dialect(self) -> Dialect | None:
        """What was found; None until the endpoint was asked."""
        return _found.get(self._key)

    async def find(self, session: Session) -> Dialect:
        """What the endpoint obeys; it is asked where that is not known yet.

        Raises:
            EndpointError: it cannot be reached, does not answer, or obeys nothing of what is asked for.
        """
        async with session.probing:
            if self._key not in _found:
                _found[self._key] = await self._ask(session)
                logger.info("%s is held to: %s", self._address, _found[self._key])
        return _found[self._key]

    async def _ask(self, session: Session) -> Dialect:
        refusals = []
        for dialect in dialects_for(self._constraint):
            fields = dialect.fields(_SCHEMA, _TEXT, "NER") | {"max_tokens": _MAX_TOKENS}
            try:
                reply = await session.ask(_QUESTION, fields, max_attempts=_MAX_ATTEMPTS)
            except SilentError as error:
                # Each of the other ways to ask would take as long.
                raise EndpointError(f"{error}; look whether the server is at work") from None
            except RefusedError as error:
                refusals.append(str(error))
                continue
            if _HELD_ANSWERS[dialect.constraint].match(reply.content):
                return dialect
        if self._constraint in ("auto", "none"):
            raise EndpointError(
                f"{refusals[-1]}; the question was a plain one, so check the name of the model"
            )
        said = f" At last it said: {refusals[-1]}." if refusals else ""
        raise EndpointError(
            f"{show(self._address)} does not obey the constraint {show(self._constraint)}, in none of "
            f"the ways it can be asked for.{said} Take 'auto' for the best one that it does obey"
        )
