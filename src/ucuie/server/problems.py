"""Problem documents (RFC 9457) for all that goes wrong: the field, what is wrong with it, what to do.

Every answer with a status of 400 or more has one, those of the framework too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from ucuie.errors import MAX_LISTED_FAULTS, SchemaError, UserError, show
from ucuie.server.text_queue import NotReadyError, QueueFullError

MEDIA_TYPE = "application/problem+json"
_NAMESPACE = "urn:ucuie:problem:"
_Location = tuple[int | str, ...]


class RequestFault(BaseModel):
    """One thing that is wrong in a request.

    Args:
        field: where, such as `texts[3].text`; empty for the request as a whole.
        detail: what is wrong there, and what to do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str
    detail: str

    def __str__(self) -> str:
        return f"{self.field}: {self.detail}" if self.field else self.detail


class ProblemDocument(BaseModel):
    """The body of every answer that is not the one asked for.

    Args:
        type: names the kind of problem, for programs.
        title: the kind in words.
        status: the HTTP status code.
        detail: what is wrong and what to do, for people.
        errors: each fault of the request by its field, at most 20.
        request_id: what the server's log calls the request.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[RequestFault, ...] = ()
    request_id: str | None = None


@dataclass(frozen=True)
class Kind:
    """A kind of problem; `meaning` is what the OpenAPI document says of it, where that is not the title."""

    name: str
    title: str
    status: int
    meaning: str = ""


INVALID_REQUEST = Kind("invalid-request", "The request cannot be used", 422)
MALFORMED = Kind("malformed", "The request cannot be read", 400)
UNAUTHORIZED = Kind("unauthorized", "An API key is needed", 401)
NOT_FOUND = Kind("not-found", "There is nothing here", 404, "There is nothing of that name")
NOT_ALLOWED = Kind("method-not-allowed", "That method is not for this address", 405)
TOO_SLOW = Kind("too-slow", "The request came in too slowly", 408)
TOO_LARGE = Kind("too-large", "The request is too large", 413)
MEDIA = Kind("media-type", "The request is not JSON", 415)
WRONG_HOST = Kind(
    "wrong-host", "This server does not go by that name", 421, "The server does not go by that name"
)
QUEUE_FULL = Kind(
    "queue-full",
    "The server is busy",
    429,
    "Too many texts are waiting; `Retry-After` says when to try again",
)
CLIENT_GONE = Kind("client-gone", "The client has gone", 499)
INTERNAL = Kind("internal", "The server failed", 500)
UNAVAILABLE = Kind("unavailable", "The server is not ready", 503)
TIME_LIMIT = Kind("time-limit", "The time limit is over", 504)


@dataclass(eq=False)
class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """Ends a request with a problem document.

    Args:
        kind: one of the kinds of this module.
        detail: what is wrong and what to do; left out, it is made from the faults.
        faults: by field.
        headers: HTTP headers that go with the answer.
    """

    kind: Kind
    detail: str = ""
    faults: Sequence[RequestFault] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self, request_id: str | None = None) -> ProblemDocument:
        """The document for the request of that id."""
        listed = tuple(self.faults[:MAX_LISTED_FAULTS])
        return ProblemDocument(
            type=_NAMESPACE + self.kind.name,
            title=self.kind.title,
            status=self.kind.status,
            detail=self.detail or "\n".join(map(str, listed)),
            errors=listed,
            request_id=request_id,
        )

    def response(self, request_id: str | None = None) -> JSONResponse:
        """The answer for the request of that id."""
        return JSONResponse(
            self.document(request_id).model_dump(mode="json", exclude_none=True),
            status_code=self.kind.status,
            headers=dict(self.headers),
            media_type=MEDIA_TYPE,
        )


def fault_at(field: str, detail: str, kind: Kind = INVALID_REQUEST) -> Problem:
    """The problem of a request with one fault, by its field."""
    return Problem(kind, faults=[RequestFault(field=field, detail=detail)])


def problem_of(error: Exception) -> Problem:
    """The problem that an exception stands for; a server's own failure says nothing of its inside."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, UserError):
        return fault_at("schema" if isinstance(error, SchemaError) else "", str(error))
    if isinstance(error, QueueFullError):
        return Problem(QUEUE_FULL, str(error), headers={"retry-after": str(error.retry_seconds)})
    if isinstance(error, NotReadyError):
        return Problem(UNAVAILABLE, f"{error}; try again soon", headers={"retry-after": "2"})
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _of_framework(error)
    return Problem(
        INTERNAL,
        "the server failed at this request; others go on. The log says more under the request's id, please "
        "report it",
    )


def _invalid(error: RequestValidationError) -> Problem:
    details: dict[_Location, list[str]] = {}
    around: set[_Location] = set()
    for fault in error.errors():
        if fault["type"] == "json_invalid":
            reason = fault.get("ctx", {}).get("error", fault["msg"])
            return Problem(MALFORMED, f"the body is not JSON: {reason} (character {fault['loc'][-1]})")
        location = _without_members(fault, error.body)
        details.setdefault(location, []).append(_detail(fault))
        around.update(location[:length] for length in range(len(location)))
    return Problem(
        INVALID_REQUEST,
        faults=[
            RequestFault(field=_field_name(location) or "the body", detail=_joined(of_one))
            for location, of_one in details.items()
            # A member of a union that fits but for something in it is the one that was meant.
            if location not in around
        ],
    )


def _without_members(fault: Mapping[str, Any], body: Any) -> _Location:
    """The place of a fault in the body; pydantic names the members of unions in between."""
    _, *steps = fault["loc"]
    location = []
    for number, step in enumerate(steps, start=1):
        leads_on = (
            step in body if isinstance(body, dict) else isinstance(body, list) and isinstance(step, int)
        )
        if leads_on:
            body = body[step]
        if leads_on or (fault["type"] == "missing" and number == len(steps)):
            location.append(step)
    return tuple(location)


def _field_name(location: _Location) -> str:
    """`texts[3].text` for ("texts", 3, "text")."""
    name = ""
    for step in location:
        name += f"[{step}]" if isinstance(step, int) else f".{step}" if name else step
    return name


def _joined(details: Sequence[str]) -> str:
    """The words of all members of a union as one sentence, with the value at its end."""
    *earlier, last = details
    first, *others = [detail.partition(", got ")[0] for detail in earlier] + [last]
    return ", or ".join([first, *(other.removeprefix("should be ") for other in others)])


def _detail(fault: Mapping[str, Any]) -> str:
    match fault["type"]:
        case "missing":
            return "is missing; add it"
        case "value_error":
            return str(fault["msg"]).removeprefix("Value error, ")
        case "too_short":
            return "has nothing in it; give at least one"
        case "string_unicode":
            return "holds a lone surrogate, which is no character; send whole characters"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"should be an object, got {show(fault.get('input'))}"
        case _:
            wanted = str(fault["msg"]).removeprefix("Input ")
            return f"{wanted[:1].lower()}{wanted[1:]}, got {show(fault.get('input'))}"


def _of_framework(error: HTTPException) -> Problem:
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    match error.status_code:
        case 404:
            detail = "no such address; the playground is at /, the API is described at /openapi.json"
            return Problem(NOT_FOUND, detail, headers=headers)
        case 405:
            return Problem(NOT_ALLOWED, f"use {headers.get('allow', 'another method')} here", headers=headers)
        case 400:
            reason = "it is not UTF-8, or nested too deeply, or has a number with too many digits"
            return Problem(MALFORMED, f"the body is not JSON: {reason}")
        case status:
            kind = Kind("http", HTTPStatus(status).phrase, status)
            return Problem(kind, str(error.detail), headers=headers)
