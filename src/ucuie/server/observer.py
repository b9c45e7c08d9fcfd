"""Gives every request an id, safe headers on its answer, a line in the log and a count, refused or not.

`Observer` is plain ASGI, around all else. The log is one JSON object a line on stderr, texts stay out unless
asked for; counts are for Prometheus.
"""

import json
import logging
import math
import secrets
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ucuie.server.problems import CLIENT_GONE

logger = logging.getLogger(__name__)

_EVENT_LOOP = "asyncio"
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
LOG_FIELDS = "fields"
"""The attribute of a log record that holds its further fields."""
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128)


class Observer:
    """Gives every request an id, and notes how it went."""

    def __init__(self, app: ASGIApp, *, metrics: "Metrics", log_texts: bool) -> None:
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
        finally:
            self._note(scope, status or CLIENT_GONE.status, time.perf_counter() - start)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        state = scope["state"]
        route = getattr(scope.get("route"), "path", "") or "other"
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
        logger.info("request", extra={LOG_FIELDS: fields})


class Metrics:
    """The counters of one server, in a registry of their own; also a queue's watcher."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        # Memory and open files of the process.
        ProcessCollector(registry=registry)
        labels = ("route", "method", "status")
        self._requests = Counter("ucuie_requests", "Requests answered.", labels, registry=registry)
        self._request_seconds = Histogram(
            "ucuie_request_seconds",
            "From the beginning of a request to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._texts = Counter("ucuie_texts", "Texts extracted from.", registry=registry)
        self._records = Counter("ucuie_records", "Records found.", registry=registry)
        self._batch_texts = Histogram(
            "ucuie_batch_texts", "Texts of a batch.", buckets=_TEXTS, registry=registry
        )
        self._batch_seconds = Histogram(
            "ucuie_batch_seconds", "Work on a batch.", buckets=_SECONDS, registry=registry
        )
        self.waiting = Gauge("ucuie_waiting_texts", "Texts in the queue.", registry=registry)
        self.running = Gauge("ucuie_running_texts", "Texts that the model is at.", registry=registry)
        self.ready = Gauge("ucuie_ready", "1 once the model is loaded.", registry=registry)

    def request_done(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request is answered; `route` is the pattern of its path, never the path itself."""
        self._requests.labels(route, method, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def batch_done(self, num_texts: int, num_records: int, seconds: float) -> None:
        """A batch is answered."""
        self._texts.inc(num_texts)
        self._records.inc(num_records)
        self._batch_texts.observe(num_texts)
        self._batch_seconds.observe(seconds)

    def exposition(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self._registry)


class JsonFormatter(logging.Formatter):
    """Log records as JSON; with `log_texts` the messages of exceptions too, which may quote texts."""

    def __init__(self, *, log_texts: bool = False) -> None:
        super().__init__()
        self.log_texts = log_texts

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end."""
        # What the event loop says quotes what it was at.
        is_safe = self.log_texts or (record.exc_info is None and record.name != _EVENT_LOOP)
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage() if is_safe else str(record.msg).partition("\n")[0],
            **getattr(record, LOG_FIELDS, {}),
        }
        if record.exc_info is not None and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["frames"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(record.exc_info[2])
            ]
            if self.log_texts:
                line["message"] = str(record.exc_info[1])
        # ASCII only: a lone surrogate could not be written otherwise, and no line can be forged.
        return json.dumps(line, default=str)


class _OnceASecond(logging.Filter):
    """Lets the event loop's failures through one a second: where files are used up it has thousands."""

    _last = -math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name != _EVENT_LOOP:
            return True
        is_due = record.created - self._last >= 1
        if is_due:
            self._last = record.created
        return is_due


def log_to_stderr(*, log_texts: bool, is_quiet: bool = False) -> None:
    """Writes what the server and uvicorn log to stderr; only what goes wrong if quiet."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(log_texts=log_texts))
    handler.addFilter(_OnceASecond())
    for name in ("ucuie.server", "uvicorn", _EVENT_LOOP):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.WARNING if is_quiet else logging.INFO)
