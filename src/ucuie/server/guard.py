"""The guard between the network and the API: who may ask, how much and how slowly.

Plain ASGI, outside of the framework, so that nothing of a refused request is read, let alone parsed. Answers
for what is refused here and for what fails inside.
"""

import asyncio
import hashlib
import hmac
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ucuie.errors import show
from ucuie.server.observer import LOG_FIELDS
from ucuie.server.problems import (
    CLIENT_GONE,
    MEDIA,
    QUEUE_FULL,
    TOO_LARGE,
    TOO_SLOW,
    UNAUTHORIZED,
    WRONG_HOST,
    Problem,
    RequestFault,
    problem_of,
)
from ucuie.server.settings import ServerSettings

logger = logging.getLogger(__name__)

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_PROTECTED = ("/v1/", "/metrics")
_RETRY_SECONDS = 2


class Guard:
    """Lets a request through to the app when its sender may ask and its whole body is there."""

    def __init__(self, app: ASGIApp, *, settings: ServerSettings) -> None:
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
        has_begun = False

        async def send_in_time(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            async with asyncio.timeout(self._settings.request_seconds):
                await send(message)

        try:
            await self._let_through(scope, receive, send_in_time)
        except Exception as error:
            problem = problem_of(error)
            request_id = scope["state"]["request_id"]
            if problem.kind.status >= 500:
                logger.exception("a request failed", extra={LOG_FIELDS: {"id": request_id}})
            if has_begun:
                # The answer has begun: breaking it off is the only way to tell.
                raise
            await problem.response(request_id)(scope, receive, send)

    async def _let_through(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        self._check_host(headers)
        self._check_key(scope["path"], headers)
        has_body = b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
        # What has none is no work, and whoever asks after the server's health has to be told.
        if has_body and self._num_requests >= self._settings.max_requests:
            detail = f"{self._num_requests:,} requests are being worked on; try again in {_RETRY_SECONDS} s"
            raise Problem(QUEUE_FULL, detail, headers={"retry-after": str(_RETRY_SECONDS)})
        self._num_requests += has_body
        try:
            body = await self._read_body(scope, headers, receive)
            await self._app(scope, _replayed(body, receive), send)
        finally:
            self._num_requests -= has_body

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        if not self._hosts:
            return
        name = headers.get(b"host", b"").decode("latin-1").casefold()
        # The port is what follows the last colon, unless that stands within [...] of an IPv6 address.
        host, colon, port = name.rpartition(":")
        if not colon or not (port.isascii() and port.isdigit()):
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
        if not sum(hmac.compare_digest(digest, known) for known in self._key_digests):
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
                has_more = True
                while has_more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Problem(CLIENT_GONE, "the connection ended within the request")
                    body += message.get("body", b"")
                    if len(body) > limit:
                        raise _body_too_large(limit)
                    has_more = message.get("more_body", False)
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
        TOO_LARGE, faults=[RequestFault(field="the body", detail=detail)], headers={"connection": "close"}
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
