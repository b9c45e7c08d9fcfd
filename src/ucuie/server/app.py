"""The application: an engine, the addresses of `routes`, and what stands before them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException

from ucuie import __version__
from ucuie.errors import UserError
from ucuie.server.guard import Guard
from ucuie.server.metrics import Metrics
from ucuie.server.observer import Observer
from ucuie.server.openapi import describe
from ucuie.server.problems import Problem, problem_of
from ucuie.server.routes.extraction import add_extraction
from ucuie.server.routes.models import add_models
from ucuie.server.routes.operation import add_operation
from ucuie.server.routes.playground import add_playground
from ucuie.server.routes.schemas import add_schemas
from ucuie.server.schemas import NamedSchemas
from ucuie.server.settings import ServerSettings
from ucuie.server.text_queue import NotReadyError, QueueFullError, TextQueue


def _ignore(task: asyncio.Task[None]) -> None:
    pass


_DESCRIPTION = """\
Typed, source-grounded information extraction: texts and a schema in, records with exact character offsets
out. Offsets are half-open and count code points of the text as it was sent. Everything that goes wrong is
answered with a problem document (RFC 9457) that names the field and says what to do.
"""


def create_app(
    engine: TextQueue,
    settings: ServerSettings,
    *,
    metrics: Metrics,
    schemas: NamedSchemas,
    on_started: Callable[[asyncio.Task[None]], None] = _ignore,
) -> FastAPI:
    """The application; it starts and closes the engine.

    Args:
        engine: answers; not started yet.
        settings: the limits.
        metrics: what `/metrics` shows.
        schemas: what requests may name.
        on_started: is told when the engine is ready, or why it is not, by the task that started it.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # The server listens while the model loads, so that /healthz and /readyz tell the two apart.
        starting = asyncio.create_task(engine.start())
        starting.add_done_callback(lambda _: metrics.ready.set(engine.is_ready))
        starting.add_done_callback(on_started)
        yield
        starting.cancel()
        await asyncio.wait([starting])
        await engine.close()

    app = FastAPI(
        title="UC-UIE",
        version=__version__,
        summary="Typed, source-grounded information extraction.",
        description=_DESCRIPTION,
        lifespan=lifespan,
        # The pages for it would load their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    add_extraction(app, engine, settings, schemas)
    add_schemas(app, settings, schemas)
    add_models(app, engine, settings)
    add_operation(app, engine, metrics)
    add_playground(app)
    describe(app)
    for error in (Problem, UserError, NotReadyError, QueueFullError, RequestValidationError, HTTPException):
        app.add_exception_handler(error, _answer_problem)
    app.add_middleware(Guard, settings=settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-api-key"],
            expose_headers=["retry-after", "x-request-id"],
        )
    app.add_middleware(Observer, metrics=metrics, log_texts=settings.log_texts)
    return app


async def _answer_problem(request: Request, error: Exception) -> Response:
    return problem_of(error).response(request.state.request_id)
