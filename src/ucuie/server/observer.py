"""What every request gets, refused or not: an id, safe headers on its answer, a line in the log, a count.

Plain ASGI, around all else.
"""

import logging
import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ucuie.server.logs import FIELDS
from ucuie.server.metrics import Metrics
from ucuie.server.problems import CLIENT_GONE, problem_of

logger = logging.getLogger(__name__)

_METHODS = ("GET", "HEAD", "OPTIONS", "POST")
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

    def __init__(self, app: ASGIApp, *, metrics: Metrics, log_texts: bool) -> None:
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
