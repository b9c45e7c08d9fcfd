"""One JSON object a line on stderr for every request and event; texts stay out unless asked for."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

FIELDS = "fields"
"""The attribute of a log record that holds its further fields."""


class JsonFormatter(logging.Formatter):
    """Log records as JSON.

    Args:
        log_texts: write the messages of exceptions too, which may quote texts.
    """

    def __init__(self, *, log_texts: bool = False) -> None:
        super().__init__()
        self.log_texts = log_texts

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage() if record.exc_info is None or self.log_texts else record.msg,
            **getattr(record, FIELDS, {}),
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


def log_to_stderr(*, log_texts: bool, is_quiet: bool = False) -> None:
    """Writes what the server and uvicorn log to stderr; only what goes wrong if quiet."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(log_texts=log_texts))
    for name in ("ucuie.server", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.WARNING if is_quiet else logging.INFO)
    # Ours has the same and more.
    logging.getLogger("uvicorn.access").disabled = True
