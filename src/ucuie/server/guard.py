"""What stands between the network and the API: who may ask, how much and how slowly, and what is noted.

Plain ASGI, outside of the framework, so that nothing of a refused request is read, let alone parsed.
"""

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ucuie.errors import show
from ucuie.server.logs import FIELDS
from ucuie.server.metrics import Metrics
from ucuie.server.problems import (
    CLIENT_GONE,
    MEDIA,
    QUEUE_FULL,
    TOO_LARGE,
    TOO_SLOW,
    UNAUTHORIZED,
    WRONG_HOST,
    Fault,
    Problem,
    problem_of,
)
from ucuie.server.settings import ServerSettings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_PROTECTED = ("/v1/", "/metrics")
_METHODS = ("GET", "HEAD", "OPTIONS", "POST")
_RETRY_SECONDS = 2
_CONTENT_SECURITY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SECURITY_HEADERS = (
    (b"content-security-policy", _CONTENT_SECURITY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Observer:
    """Gives every request an id, notes how it went, and answers for what fails inside.

    Args:
        app: what is observed.
        metrics: where requests are counted.
        log_texts: write the texts of requests into the log.
    """

    def __init__(self, app: App, *, metrics: Metrics, log_texts: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._log_texts = log_texts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = secrets.token_hex(8)
        status = 0

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    *_SECURITY_HEADERS,
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        except Exception as error:
            problem = problem_of(error)
            if problem.kind.status >= 500:
                logger.exception("a request failed", extra={FIELDS: {"id": request_id}})
            if status:
                # The answer has begun: breaking it off is the only way to tell.
                raise
            await problem.response(request_id)(scope, receive, note_status)
        finally:
            self._note(scope, status or CLIENT_GONE.status, time.perf_counter() - start)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "") or "other"
        state = scope["state"]
        # Whoever asks chooses path and method; what is counted by name is only what the server has.
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.request_done(route, method, status, seconds)
        fields = {
            "id": state["request_id"],
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "seconds": round(seconds, 4),
            "client": (scope.get("client") or ("",))[0],
            **state.get("noted", {}),
        }
        if self._log_texts and "texts" in state:
            fields["texts"] = state["texts"]
        logger.info("request", extra={FIELDS: fields})


class Guard:
    """Lets a request through when its sender may ask and its whole body is there.

    Args:
        app: gets the requests that are let through.
        settings: the limits.
    """

    def __init__(self, app: App, *, settings: ServerSettings) -> None:
        self._app = app
        self._settings = settings
        self._hosts = settings.allowed_hosts or (_LOCAL_HOSTS if settings.is_local else ())
        self._key_digests = [_digest(key.encode()) for key in settings.api_keys]
        self._num_requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        self._check_host(headers)
        self._check_key(scope["path"], headers)
        if self._num_requests >= self._settings.max_requests:
            raise Problem(
                QUEUE_FULL,
                f"{self._num_requests:,} requests are being worked on; try again in {_RETRY_SECONDS} s",
                headers={"retry-after": str(_RETRY_SECONDS)},
            )
        self._num_requests += 1
        try:
            body = await self._read_body(scope, headers, receive)
            await self._app(scope, _replayed(body, receive), send)
        finally:
            self._num_requests -= 1

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        if not self._hosts:
            return
        name = headers.get(b"host", b"").decode("latin-1").casefold()
        # The port is what follows the last colon, unless that stands within [...] of an IPv6 address.
        host, colon, port = name.rpartition(":")
        if not colon or not port.isdigit():
            host = name
        if host not in (known.casefold() for known in self._hosts):
            raise Problem(
                WRONG_HOST,
                f"the Host header says {show(name)}; this server answers to {', '.join(self._hosts)}. Others "
                "are added with --allow-host",
            )

    def _check_key(self, path: str, headers: dict[bytes, bytes]) -> None:
        if not self._key_digests or not path.startswith(_PROTECTED):
            return
        scheme, _, bearer = headers.get(b"authorization", b"").partition(b" ")
        given = bearer.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")
        # Digests of equal length, and all of them: the time says nothing about any key.
        digest = _digest(given)
        is_known = False
        for known in self._key_digests:
            is_known |= hmac.compare_digest(digest, known)
        if not is_known:
            raise Problem(
                UNAUTHORIZED,
                ("no API key was sent" if not given else "the API key is not known")
                + "; send one as `Authorization: Bearer KEY` or `X-API-Key: KEY`",
                headers={"www-authenticate": "Bearer"},
            )

    async def _read_body(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        limit = self._settings.max_body_bytes
        # The protocol has made sure that it is a number.
        if int(headers.get(b"content-length", b"0")) > limit:
            raise _body_too_large(limit)
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.receive_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Problem(CLIENT_GONE, "the connection ended within the request")
                    body += message.get("body", b"")
                    if len(body) > limit:
                        raise _body_too_large(limit)
                    if not message.get("more_body"):
                        break
        except TimeoutError:
            raise Problem(
                TOO_SLOW,
                f"the request was not complete after {self._settings.receive_seconds:g} s; send it faster, "
                "or in smaller parts",
                headers={"connection": "close"},
            ) from None
        if body and scope["method"] == "POST":
            _check_media_type(headers)
        return bytes(body)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _body_too_large(limit: int) -> Problem:
    detail = f"has more than {limit:,} bytes, which is what this server takes; send it in parts"
    return Problem(
        TOO_LARGE, faults=[Fault(field="the body", detail=detail)], headers={"connection": "close"}
    )


def _check_media_type(headers: dict[bytes, bytes]) -> None:
    given = headers.get(b"content-type", b"").decode("latin-1")
    if given.partition(";")[0].strip().casefold() != "application/json":
        raise Problem(MEDIA, f"the content type is {show(given)}; send application/json")


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read already, then what comes after it."""
    is_given = False

    async def receive_again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


async def unless_gone(receive: Receive, work: Awaitable[Any]) -> Any:
    """What the work gives; it is cancelled when the client goes away.

    Raises:
        Problem: the client has gone.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Problem(CLIENT_GONE, "the client closed the connection before the answer")
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
