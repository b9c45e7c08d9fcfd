"""The API: addresses, and what each of them does with an engine."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from ucuie import __version__
from ucuie.errors import ConfigError, SchemaError, TextError, UserError, did_you_mean, show
from ucuie.extraction import Extraction
from ucuie.server.engine import Engine, NotReadyError, QueueFullError, Switches
from ucuie.server.guard import Guard, Observer, unless_gone
from ucuie.server.messages import (
    ExtractRequest,
    ExtractResponse,
    Limits,
    ModelFactsMessage,
    ModelList,
    NamedSchemaFacts,
    SchemaFacts,
    SchemaList,
    SchemaToCheck,
    State,
    StreamedProblem,
)
from ucuie.server.metrics import Metrics
from ucuie.server.problems import (
    INVALID_REQUEST,
    MEDIA_TYPE,
    NOT_FOUND,
    QUEUE_FULL,
    TIME_LIMIT,
    UNAVAILABLE,
    Fault,
    Problem,
    ProblemDocument,
    problem_of,
)
from ucuie.server.queries import check_elements, read_queries, read_schema, read_yaml_schema, text_field
from ucuie.server.schemas import NamedSchemas
from ucuie.server.settings import ServerSettings

if TYPE_CHECKING:
    from ucuie.extractor import Query

NDJSON = "application/x-ndjson"
_STATIC = Path(__file__).with_name("static")
_PROBLEMS = {
    400: "The request cannot be read.",
    401: "An API key is needed.",
    404: "There is nothing of that name.",
    408: "The request came in too slowly.",
    413: "The request is too large.",
    415: "The request is not JSON.",
    421: "The server does not go by that name.",
    422: "The request cannot be used.",
    429: "Too many texts are waiting; `Retry-After` says when to try again.",
    500: "The server failed.",
    503: "The server is not ready.",
    504: "The time limit is over.",
}
_GUARDED = (400, 401, 408, 413, 421, 429, 503)
_POSTED = (*_GUARDED, 415, 422)


def _ignore(task: asyncio.Task[None]) -> None:
    pass


_DESCRIPTION = """\
Typed, source-grounded information extraction: texts and a schema in, records with exact character offsets
out. Offsets are half-open and count code points of the text as it was sent. Everything that goes wrong is
answered with a problem document (RFC 9457) that names the field and says what to do.
"""


def create_app(
    engine: Engine,
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
    _add_extraction(app, engine, settings, schemas)
    _add_schemas(app, settings, schemas)
    _add_models(app, engine, settings)
    _add_operations(app, engine, metrics)
    _add_playground(app)
    _describe(app)
    for error in (Problem, UserError, RequestValidationError, HTTPException, ConfigError):
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


def _add_extraction(app: FastAPI, engine: Engine, settings: ServerSettings, schemas: NamedSchemas) -> None:
    @app.post(
        "/v1/extract",
        tags=["extraction"],
        summary="Extract records from one or many texts",
        responses=_problems(*_POSTED, 500, 504),
    )
    async def extract(message: ExtractRequest, request: Request) -> ExtractResponse:
        # First: before the model is there, reading queries would wait for the imports that come with it.
        switches = _switches(message, engine)
        queries = read_queries(message, schemas, settings, max_texts=settings.max_texts)
        check_elements(message, queries)
        _note(request, queries)
        try:
            async with asyncio.timeout(settings.request_seconds):
                with _engine_problems():
                    answers = await unless_gone(request.receive, engine.answer(queries, switches))
        except TimeoutError:
            raise _time_limit(settings) from None
        faults = [
            Fault(field=text_field(message, index), detail=str(answer))
            for index, answer in enumerate(answers)
            if isinstance(answer, TextError)
        ]
        if faults:
            raise Problem(INVALID_REQUEST, faults=faults)
        return ExtractResponse.model_construct(extractions=answers)

    @app.post(
        "/v1/extract/stream",
        tags=["extraction"],
        summary="Extract from many texts, one line for each as soon as it is there",
        description=(
            "The same request with more texts. Each line of the answer is an extraction, in the order of the "
            "texts; a text without one has a line with `id` and `problem` instead, and the others go on."
        ),
        response_class=StreamingResponse,
        responses=_problems(*_POSTED, 500)
        | {
            200: {
                "description": "One JSON object a line.",
                "content": {NDJSON: {"schema": {"$ref": "#/components/schemas/StreamedLine"}}},
            }
        },
    )
    async def extract_stream(message: ExtractRequest, request: Request) -> StreamingResponse:
        switches = _switches(message, engine)
        queries = read_queries(message, schemas, settings, max_texts=settings.max_stream_texts)
        _note(request, queries)
        answers = engine.stream(queries, switches, seconds=settings.request_seconds)
        request_id = request.state.request_id
        return StreamingResponse(
            (_line(query, answer, settings, request_id) async for query, answer in _paired(queries, answers)),
            media_type=NDJSON,
        )


def _add_schemas(app: FastAPI, settings: ServerSettings, schemas: NamedSchemas) -> None:
    @app.get(
        "/v1/schemas",
        tags=["schemas"],
        summary="The schemas that requests may name",
        responses=_problems(*_GUARDED),
    )
    async def list_schemas() -> SchemaList:
        return SchemaList(schemas=[NamedSchemaFacts.of_named(named) for named in schemas.all()])

    @app.get(
        "/v1/schemas/{name}",
        tags=["schemas"],
        summary="One of them",
        responses=_problems(*_GUARDED, 404, 422),
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
        responses=_problems(*_POSTED),
    )
    async def check_schema(message: SchemaToCheck) -> SchemaFacts:
        # YAML of the largest size takes long enough to hold others up.
        schema = await asyncio.to_thread(_checked_schema, message, schemas, settings)
        return SchemaFacts.of(schema)


def _add_models(app: FastAPI, engine: Engine, settings: ServerSettings) -> None:
    @app.get(
        "/v1/models",
        tags=["models"],
        summary="The models that answer, and the limits of requests",
        responses=_problems(*_GUARDED),
    )
    async def list_models() -> ModelList:
        if not engine.facts:
            raise _unavailable(NotReadyError("the model is not loaded yet"))
        models = [
            ModelFactsMessage(
                name=name,
                num_parameters=facts.num_parameters,
                device=facts.device,
                capabilities=list(facts.capabilities),
                context_tokens=facts.context_tokens,
            )
            for name, facts in engine.facts.items()
        ]
        limits = Limits(
            texts=settings.max_texts,
            stream_texts=settings.max_stream_texts,
            text_characters=settings.max_text_characters,
            body_bytes=settings.max_body_bytes,
        )
        return ModelList(models=models, limits=limits)


def _add_operations(app: FastAPI, engine: Engine, metrics: Metrics) -> None:
    @app.get(
        "/healthz",
        tags=["operation"],
        summary="Whether the process works",
        responses=_problems(400, 408, 413, 421, 429, 503),
    )
    async def health() -> State:
        if not engine.is_alive:
            raise Problem(UNAVAILABLE, "the engine has ended; start the server anew")
        return State(status="ok")

    @app.get(
        "/readyz",
        tags=["operation"],
        summary="Whether the model is loaded",
        responses=_problems(400, 408, 413, 421, 429, 503),
    )
    async def readiness() -> State:
        if not engine.is_ready:
            raise _unavailable(NotReadyError("the model is not loaded yet"))
        return State(status="ready")

    @app.get(
        "/metrics",
        tags=["operation"],
        summary="Counters for Prometheus",
        response_class=Response,
        responses=_problems(*_GUARDED)
        | {200: {"description": "Prometheus's text format.", "content": {"text/plain": {}}}},
    )
    async def show_metrics() -> Response:
        metrics.waiting.set(engine.num_waiting)
        metrics.running.set(engine.num_running)
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_playground(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def playground() -> FileResponse:
        # Without a word on it, browsers keep pages for a while: also that of the version before.
        return FileResponse(_STATIC / "index.html", headers={"cache-control": "no-cache"})

    app.mount("/static", StaticFiles(directory=_STATIC), name="static")


@contextmanager
def _engine_problems() -> Iterator[None]:
    """What the engine refuses, as problems."""
    try:
        yield
    except QueueFullError as error:
        raise Problem(QUEUE_FULL, str(error), headers={"retry-after": str(error.retry_seconds)}) from None
    except NotReadyError as error:
        raise _unavailable(error) from None


def _switches(message: ExtractRequest, engine: Engine) -> Switches:
    """What of the model takes part in a request.

    Raises:
        Problem: the model has no such switches, or is not there yet.
    """
    with _engine_problems():
        engine.check_room()
    name = next(iter(engine.facts)) if message.model is None else message.model
    if name not in engine.facts:
        detail = f"the server has no model {show(name)}{did_you_mean(name, engine.facts)}"
        raise Problem(INVALID_REQUEST, faults=[Fault(field="model", detail=detail)])
    known = engine.facts[name].capabilities
    field = "explain" if message.explain else "capabilities"
    if not known and (message.explain or message.capabilities is not None):
        detail = f"the model {name} has no capability experts; leave it out"
        raise Problem(INVALID_REQUEST, faults=[Fault(field=field, detail=detail)])
    if message.capabilities is None:
        return Switches(model=name)
    chosen = tuple(capability for capability in known if capability in message.capabilities)
    # All of them is what happens without a choice: one engine state fewer.
    return Switches(None if chosen == known else chosen, name)


def _checked_schema(message: SchemaToCheck, schemas: NamedSchemas, settings: ServerSettings) -> Any:
    if message.yaml is not None:
        return read_yaml_schema(message.yaml, settings)
    assert message.schema_source is not None
    return read_schema(message.schema_source, schemas, settings)


async def _paired(
    queries: "Sequence[Query]", answers: AsyncIterator[Extraction | TextError | TimeoutError]
) -> AsyncIterator[tuple["Query", Extraction | TextError | TimeoutError]]:
    position = 0
    async for answer in answers:
        yield queries[position], answer
        position += 1


def _line(
    query: "Query", answer: Extraction | TextError | TimeoutError, settings: ServerSettings, request_id: str
) -> str:
    if isinstance(answer, Extraction):
        return answer.to_json() + "\n"
    problem = _time_limit(settings) if isinstance(answer, TimeoutError) else problem_of(answer)
    line = StreamedProblem(id=query.id, problem=problem.document(request_id))
    return line.model_dump_json(exclude_none=True) + "\n"


def _time_limit(settings: ServerSettings) -> Problem:
    return Problem(
        TIME_LIMIT,
        f"no answer within {settings.request_seconds:g} s, the server's limit; send fewer or shorter texts",
    )


def _unavailable(error: NotReadyError) -> Problem:
    return Problem(UNAVAILABLE, f"{error}; try again soon", headers={"retry-after": "2"})


def _note(request: Request, queries: "Sequence[Query]") -> None:
    """What the log says about a request, and the texts for those who ask for them."""
    request.state.noted = {
        "num_texts": len(queries),
        "num_characters": sum(len(query.text) for query in queries),
    }
    request.state.texts = [query.text for query in queries]


async def _answer_problem(request: Request, error: Exception) -> Response:
    return problem_of(error).response(request.state.request_id)


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    return {
        status: {"description": _PROBLEMS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def _describe(app: FastAPI) -> None:
    """Adds to the OpenAPI document what the framework cannot know."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
            )
            components = document.setdefault("components", {})
            for message in (ProblemDocument, StreamedProblem):
                described = message.model_json_schema(ref_template="#/components/schemas/{model}")
                components["schemas"] |= described.pop("$defs", {})
                components["schemas"][message.__name__] = described
            components["schemas"]["StreamedLine"] = {
                "anyOf": [
                    {"$ref": "#/components/schemas/Extraction"},
                    {"$ref": "#/components/schemas/StreamedProblem"},
                ]
            }
            components["securitySchemes"] = {
                "key": {"type": "http", "scheme": "bearer", "description": "Only where the server has keys."}
            }
            document["security"] = [{}, {"key": []}]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]
