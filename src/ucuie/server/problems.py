"""What goes wrong, as problem documents (RFC 9457): the field, what is wrong with it, what to do.

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
Location = tuple[int | str, ...]


class RequestFault(BaseModel):
    """One thing that is wrong in a request.

    Args:
        field: where, such as `texts[3].text`; empty for the request as a whole.
        detail: what is wrong there, and what to do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str
    detail: str


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

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:ucuie:problem:invalid-request",
                    "title": "The request cannot be used",
                    "status": 422,
                    "detail": "texts[1]: the text ' ' is empty; there is nothing to extract from",
                    "errors": [
                        {
                            "field": "texts[1]",
                            "detail": "the text ' ' is empty; there is nothing to extract from",
                        }
                    ],
                    "request_id": "6f1c2a0e9b7d4c58",
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[RequestFault, ...] = ()
    request_id: str | None = None


@dataclass(frozen=True)
class _Kind:
    name: str
    title: str
    status: int


INVALID_REQUEST = _Kind("invalid-request", "The request cannot be used", 422)
MALFORMED = _Kind("malformed", "The request cannot be read", 400)
UNAUTHORIZED = _Kind("unauthorized", "An API key is needed", 401)
NOT_FOUND = _Kind("not-found", "There is nothing here", 404)
NOT_ALLOWED = _Kind("method-not-allowed", "That method is not for this address", 405)
TOO_SLOW = _Kind("too-slow", "The request came in too slowly", 408)
TOO_LARGE = _Kind("too-large", "The request is too large", 413)
MEDIA = _Kind("media-type", "The request is not JSON", 415)
WRONG_HOST = _Kind("wrong-host", "This server does not go by that name", 421)
QUEUE_FULL = _Kind("queue-full", "The server is busy", 429)
CLIENT_GONE = _Kind("client-gone", "The client has gone", 499)
INTERNAL = _Kind("internal", "The server failed", 500)
UNAVAILABLE = _Kind("unavailable", "The server is not ready", 503)
TIME_LIMIT = _Kind("time-limit", "The time limit is over", 504)


@dataclass(eq=False)
class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """Ends a request with a problem document.

    Args:
        kind: one of the kinds of this module.
        detail: what is wrong and what to do; left out, it is made from the faults.
        faults: by field.
        headers: HTTP headers that go with the answer.
    """

    kind: _Kind
    detail: str = ""
    faults: Sequence[RequestFault] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self, request_id: str | None = None) -> ProblemDocument:
        """The document for the request of that id."""
        detail = self.detail or "\n".join(
            f"{fault.field}: {fault.detail}" if fault.field else fault.detail
            for fault in self.faults[:MAX_LISTED_FAULTS]
        )
        return ProblemDocument(
            type=_NAMESPACE + self.kind.name,
            title=self.kind.title,
            status=self.kind.status,
            detail=detail,
            errors=tuple(self.faults[:MAX_LISTED_FAULTS]),
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


def problem_of(error: Exception) -> Problem:
    """The problem that an exception stands for; a server's own failure says nothing of its inside."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, UserError):
        field = "schema" if isinstance(error, SchemaError) else ""
        return Problem(INVALID_REQUEST, faults=[RequestFault(field=field, detail=str(error))])
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


def field_name(location: Sequence[int | str]) -> str:
    """`texts[3].text` for ("texts", 3, "text")."""
    name = ""
    for step in location:
        name += f"[{step}]" if isinstance(step, int) else f".{step}" if name else step
    return name


def _invalid(error: RequestValidationError) -> Problem:
    faults = []
    for fault in error.errors():
        if fault["type"] == "json_invalid":
            reason = fault.get("ctx", {}).get("error", fault["msg"])
            return Problem(
                MALFORMED,
                f"the body is not JSON: {reason} (character {fault['loc'][-1]})",
            )
        faults.append(fault)
    return Problem(INVALID_REQUEST, faults=_without_unions(faults, error.body))


def _without_unions(faults: Sequence[Mapping[str, Any]], body: Any) -> list[RequestFault]:
    """The faults, those of the members of a union as one, unless a member fits but for something in it."""
    deepest: dict[Location, list[RequestFault]] = {}
    for fault in faults:
        place, *location = fault["loc"]
        plain, is_member = _without_members(location, body, is_missing=fault["type"] == "missing")
        detail = _detail(fault)
        listed = deepest.setdefault(plain, [])
        if is_member and listed:
            earlier = listed.pop().detail.partition(", got ")[0]
            detail = f"{earlier}, or {detail.removeprefix('should be ')}"
        listed.append(RequestFault(field=field_name(plain) or f"the {place}", detail=detail))
    return [
        fault
        for location, listed in deepest.items()
        if not any(other != location and other[: len(location)] == location for other in deepest)
        for fault in listed
    ]


def _without_members(location: Sequence[int | str], body: Any, *, is_missing: bool) -> tuple[Location, bool]:
    """The steps of a place that lead on into the body, and whether the last one does not.

    Pydantic names the members of unions in between. A field that is missing is no step into the body either.
    """
    plain: list[int | str] = []
    is_member = False
    for number, step in enumerate(location, start=1):
        leads_on = (
            step in body if isinstance(body, dict) else isinstance(body, list) and isinstance(step, int)
        )
        is_member = not leads_on and not (is_missing and number == len(location))
        if leads_on:
            body = body[step]
        if not is_member:
            plain.append(step)
    return tuple(plain), is_member


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
            return Problem(
                NOT_FOUND,
                "no such address; the playground is at /, the API is described at /openapi.json",
                headers=headers,
            )
        case 405:
            return Problem(NOT_ALLOWED, f"use {headers.get('allow', 'another method')} here", headers=headers)
        case 400:
            return Problem(
                MALFORMED,
                "the body is not JSON: it is not UTF-8, or nested too deeply, or has a number with too many "
                "digits",
            )
        case status:
            kind = _Kind("http", HTTPStatus(status).phrase, status)
            return Problem(kind, str(error.detail), headers=headers)
