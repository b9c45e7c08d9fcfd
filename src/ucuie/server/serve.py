"""Runs the server in this process: socket, model, uvicorn, signals."""

import asyncio
import math
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from ucuie.errors import ConfigError, show
from ucuie.model import collector_paused
from ucuie.model.source import DEFAULT, model_name
from ucuie.server.app import create_app
from ucuie.server.observer import Metrics, log_to_stderr
from ucuie.server.schemas import NamedSchemas
from ucuie.server.settings import ServerSettings
from ucuie.server.text_queue import TextQueue

if TYPE_CHECKING:
    from ucuie.model.folder import LoadedModel

_MARGIN_SECONDS = 5
_BACKLOG = 512
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(
    settings: ServerSettings,
    *,
    port: int,
    model: str | None = None,
    device: str | None = None,
    more_models: Mapping[str, str] | None = None,
    schemas_folder: Path | None = None,
    on_ready: Callable[[str], None],
    is_quiet: bool = False,
) -> None:
    """Serves until SIGINT or SIGTERM; what was accepted by then is answered first.

    Args:
        settings: address and limits.
        port: 0 takes a free one.
        model: as for `Extractor.from_pretrained`.
        device: where all models are computed, such as "cpu"; None takes a GPU if there is one.
        more_models: that requests may name, such as adapters of the same backbone.
        schemas_folder: schemas that requests may name.
        on_ready: gets the address once the model is loaded.
        is_quiet: log only what goes wrong.

    Raises:
        ConfigError: the address cannot be listened on.
        SchemaError: a schema of the folder cannot be read.
        ModelError: the model cannot be loaded.
    """
    schemas = NamedSchemas(schemas_folder)
    listener = listen(settings.host, port)
    log_to_stderr(log_texts=settings.log_texts, is_quiet=is_quiet)

    models = {_served_name(model or DEFAULT): model or DEFAULT} | dict(more_models or {})
    metrics = Metrics()
    engine = TextQueue(
        partial(_load, models, device),
        batch_size=settings.batch_size,
        queue_size=settings.queue_size,
        # The other half is for what cannot be told beforehand.
        wait_seconds=settings.request_seconds / 2,
        watcher=metrics,
    )
    failures: list[BaseException] = []

    def tell(starting: asyncio.Task[None]) -> None:
        if starting.cancelled():
            return
        if (failure := starting.exception()) is None:
            on_ready(address_of(listener))
        else:
            failures.append(failure)
            server.should_exit = True

    app = create_app(engine, settings, metrics=metrics, schemas=schemas, on_started=tell)
    server = make_server(app, settings)
    with listener, _heeded_signals_forgotten():
        asyncio.run(server.serve([listener]))
    if failures:
        raise failures[0]


def _served_name(model: str) -> str:
    """What clients call a model: of a folder or file here its name, since its path is not theirs to know."""
    name = model_name(model)
    path = Path(name).expanduser()
    return path.resolve().name if path.exists() else name


def _load(models: Mapping[str, str], device: str | None) -> "Mapping[str, LoadedModel]":
    """Runs in the engine's thread, so that the server answers /healthz while torch is imported."""
    with collector_paused():
        from ucuie.model.folder import load_models

        return load_models(models, device=device)


@contextmanager
def _heeded_signals_forgotten() -> Iterator[None]:
    """Uvicorn gives signals that it has heeded to whoever handled them before; they have done their work."""
    before = {number: signal.signal(number, lambda *_: None) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def make_server(app: FastAPI, settings: ServerSettings) -> uvicorn.Server:
    """Uvicorn as the settings want it."""
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        # Whoever sends X-Forwarded-For could write any address into the log.
        proxy_headers=False,
        timeout_keep_alive=math.ceil(settings.receive_seconds),
        timeout_graceful_shutdown=math.ceil(settings.request_seconds) + _MARGIN_SECONDS,
    )
    return uvicorn.Server(config)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        # Python names the address once more behind it.
        reason = str(error.strerror if isinstance(error, OSError) else error).partition(" (while ")[0]
        raise ConfigError(
            f"{show(host)} port {port} cannot be listened on: {reason}; --port 0 takes a free port"
        ) from None


def address_of(listener: socket.socket) -> str:
    """The address of a listening socket, as browsers write it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
