"""The application: the addresses of the API and of the page on top of it, and what stands before them.

The addresses that answer texts are in `extraction`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from ucuie import __version__
from ucuie.errors import SchemaError, UserError
from ucuie.server.extraction import add_extraction
from ucuie.server.guard import Guard
from ucuie.server.messages import (
    Limits,
    ModelList,
    NamedSchemaFacts,
    SchemaFacts,
    SchemaList,
    SchemaToCheck,
    State,
)
from ucuie.server.observer import Metrics, Observer
from ucuie.server.openapi import ALWAYS, GUARDED, POSTED, describe, problem_answers
from ucuie.server.problems import INVALID_REQUEST, NOT_FOUND, UNAVAILABLE, Problem, problem_of
from ucuie.server.queries import read_checked_schema, sizes_checked
from ucuie.server.schemas import NamedSchemas
from ucuie.server.settings import ServerSettings
from ucuie.server.text_queue import NotReadyError, QueueFullError, TextQueue

_STATIC = Path(__file__).with_name("static")
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
    on_started: Callable[[asyncio.Task[None]], None] = lambda _: None,
) -> FastAPI:
    """The application; it starts the engine, which is not started yet, and closes it.

    `on_started` gets the task that started the engine, once that is ready or has failed.
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
    _add_schemas(app, settings, schemas)
    _add_operation(app, engine, settings, metrics)
    _add_page(app)
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


def _add_schemas(app: FastAPI, settings: ServerSettings, schemas: NamedSchemas) -> None:
    @app.get("/v1/schemas", tags=["schemas"], summary="The schemas that requests may name", responses=GUARDED)
    async def list_schemas() -> SchemaList:
        return SchemaList(schemas=[NamedSchemaFacts.of_named(named) for named in schemas.all()])

    @app.get(
        "/v1/schemas/{name}",
        tags=["schemas"],
        summary="One of them",
        responses=GUARDED | problem_answers(NOT_FOUND, INVALID_REQUEST),
    )
    async def get_schema(name: str) -> NamedSchemaFacts:
        try:
            return NamedSchemaFacts.of_named(schemas[name])
        except SchemaError as error:
            raise Problem(NOT_FOUND, str(error)) from None

    @app.post(
        "/v1/schemas/check",
        tags=["schemas"],
        summary="Read a schema, and say what is wrong with it",
        dependencies=[sizes_checked(settings)],
        responses=POSTED,
    )
    async def check_schema(message: SchemaToCheck) -> SchemaFacts:
        # YAML of the largest size takes long enough to hold others up.
        return SchemaFacts.of(await asyncio.to_thread(read_checked_schema, message, schemas, settings))


def _add_operation(app: FastAPI, engine: TextQueue, settings: ServerSettings, metrics: Metrics) -> None:
    @app.get(
        "/v1/models",
        tags=["models"],
        summary="The models that answer, and the limits of requests",
        responses=GUARDED,
    )
    async def list_models() -> ModelList:
        if not engine.facts:
            raise NotReadyError("the model is not loaded yet")
        limits = Limits(
            texts=settings.max_texts,
            stream_texts=settings.max_stream_texts,
            text_characters=settings.max_text_characters,
            body_bytes=settings.max_body_bytes,
        )
        return ModelList(models=list(engine.facts.values()), limits=limits)

    @app.get("/healthz", tags=["operation"], summary="Whether the process works", responses=ALWAYS)
    async def health() -> State:
        if not engine.is_alive:
            raise Problem(UNAVAILABLE, "the engine has ended; start the server anew")
        return State(status="ok")

    @app.get("/readyz", tags=["operation"], summary="Whether the model is loaded", responses=ALWAYS)
    async def readiness() -> State:
        if not engine.is_ready:
            raise NotReadyError("the model is not loaded yet")
        return State(status="ready")

    @app.get(
        "/metrics",
        tags=["operation"],
        summary="Counters for Prometheus",
        response_class=Response,
        responses=GUARDED
        | {200: {"description": "Prometheus's text format.", "content": {"text/plain": {}}}},
    )
    async def show_metrics() -> Response:
        metrics.waiting.set(engine.num_waiting)
        metrics.running.set(engine.num_running)
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def playground() -> FileResponse:
        # Without a word on it, browsers keep pages for a while: also that of the version before.
        return FileResponse(_STATIC / "index.html", headers={"cache-control": "no-cache"})

    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
