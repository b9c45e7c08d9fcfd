"""What the answers of an endpoint can be held to, and how a request says so.

Servers differ in the name of the field and in the notation of the grammar; which one of them an endpoint
understands is found out before any text is sent there: many servers ignore what they do not know without a
word. So a constraint counts as understood only if it is obeyed: the question that tries it asks for something
that the constraint does not allow.
"""

import logging
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ucuie.errors import show
from ucuie.extract.remote.answers import Form
from ucuie.extract.remote.client import ChatClient, EndpointError, RefusedError, SilentError
from ucuie.extract.remote.session import Session
from ucuie.language.grammar import build_gbnf, build_grammar
from ucuie.schema import Capability, Schema, Task

logger = logging.getLogger(__name__)

Constraint = Literal["auto", "grammar", "json-schema", "none"]
"""What answers are held to: a grammar of the output language and of pieces of the text, a JSON schema, or
nothing; "auto" takes the first of them that the endpoint obeys."""
CONSTRAINTS: tuple[Constraint, ...] = get_args(Constraint)


@dataclass(frozen=True)
class Dialect:
    """A constraint as one kind of server wants it.

    Args:
        constraint: what answers are held to.
        field: of the request, where it has one.
        notation: how the endpoint wants a grammar written.
    """

    constraint: Literal["grammar", "json-schema", "none"]
    field: str = ""
    notation: Literal["lark", "gbnf"] | None = None

    def __str__(self) -> str:
        details = ", ".join(filter(None, (self.field, self.notation)))
        return f"{self.constraint} ({details})" if details else self.constraint

    @property
    def form(self) -> Form:
        """How answers are written."""
        return "lines" if self.constraint == "grammar" else "json"

    def fields(self, schema: Schema, text: str, task: Task | Capability) -> dict[str, Any]:
        """The fields of a request that have the answer for a text held to it."""
        if self.constraint == "none":
            return {}
        if self.constraint == "json-schema":
            form = {"name": "records", "strict": True, "schema": answer_schema(schema)}
            return {self.field: {"type": "json_schema", "json_schema": form}}
        if self.notation == "lark":
            # What has "::=" in it is taken for GBNF by vLLM, even where it is a quoted piece of the text.
            grammar = build_grammar(schema, text, task).replace("::=", r":\u003a=")
        else:
            grammar = build_gbnf(schema, text)
        return {self.field: {"grammar": grammar} if self.field == "structured_outputs" else grammar}


DIALECTS = (
    Dialect("grammar", "structured_outputs", "lark"),  # vLLM from 0.12 on, with llguidance
    Dialect("grammar", "structured_outputs", "gbnf"),  # with xgrammar alone
    Dialect("grammar", "guided_grammar", "gbnf"),  # vLLM before
    Dialect("grammar", "ebnf", "gbnf"),  # SGLang
    Dialect("grammar", "grammar", "gbnf"),  # llama.cpp
    Dialect("json-schema", "response_format"),  # OpenAI, Ollama, all of the above
    Dialect("none"),
)


def answer_schema(schema: Schema) -> dict[str, Any]:
    """The JSON schema of an answer: records with the names of the schema; all else is free text.

    Within what OpenAI's strict mode takes: every property required, no others. Names are values and not keys,
    since not every server converts keys of all scripts.
    """
    return _object(
        records={
            "type": "array",
            "items": {"anyOf": [_frame_schema(schema, name) for name in schema.frame_names]},
        }
    )


def _frame_schema(schema: Schema, name: str) -> dict[str, Any]:
    frame = schema[name]
    text: dict[str, Any] = {"type": ["string", "null"] if frame.slots else "string"}
    if not frame.slots:
        return _object(frame=_one_of(name), text=text)
    slot = _object(slot=_one_of(*frame.slot_names), text={"type": "string"})
    return _object(frame=_one_of(name), text=text, slots={"type": "array", "items": slot})


def _one_of(*names: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(names)}


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


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


def known_dialect(client: ChatClient, constraint: Constraint) -> Dialect | None:
    """The best constraint that an endpoint obeys of what is asked for; None until it was asked."""
    return _found.get((client.endpoint.base_url, client.endpoint.model, constraint))


async def find_dialect(session: Session, constraint: Constraint) -> Dialect:
    """The best constraint that an endpoint obeys; it is asked where that is not known yet.

    Raises:
        EndpointError: it cannot be reached, does not answer, or obeys nothing of what is asked for.
    """
    client = session.client
    async with session.probing:
        dialect = known_dialect(client, constraint)
        if dialect is None:
            dialect = await _probe(session, constraint)
            _found[client.endpoint.base_url, client.endpoint.model, constraint] = dialect
            logger.info("%s is held to: %s", client.address, dialect)
    return dialect


async def _probe(session: Session, constraint: Constraint) -> Dialect:
    refusals = []
    for dialect in DIALECTS:
        if constraint not in ("auto", dialect.constraint):
            continue
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
    if constraint in ("auto", "none"):
        raise EndpointError(f"{refusals[-1]}; the question was a plain one, so check the name of the model")
    said = f" At last it said: {refusals[-1]}." if refusals else ""
    raise EndpointError(
        f"{show(session.client.address)} does not obey the constraint {show(constraint)}, in none of "
        f"the ways it can be asked for.{said} Take 'auto' for the best one that it does obey"
    )
