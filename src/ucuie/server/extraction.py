"""Texts in, extractions out: at once, or a line for each as soon as it is there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive

from ucuie.errors import TextError, did_you_mean, show
from ucuie.extract.result import Extraction
from ucuie.server.extractors import Switches
from ucuie.server.messages import ExtractRequest, ExtractResponse
from ucuie.server.openapi import POSTED, STREAMED_LINE, StreamedProblem, problem_answers
from ucuie.server.problems import (
    CLIENT_GONE,
    INTERNAL,
    INVALID_REQUEST,
    TIME_LIMIT,
    Problem,
    RequestFault,
    fault_at,
)
from ucuie.server.queries import check_elements, read_queries, sizes_checked, text_field, text_problem
from ucuie.server.schemas import NamedSchemas
from ucuie.server.settings import ServerSettings
from ucuie.server.text_queue import TextQueue

if TYPE_CHECKING:
    from ucuie.extract.query import Query

_NDJSON = "application/x-ndjson"


def add_extraction(app: FastAPI, engine: TextQueue, settings: ServerSettings, schemas: NamedSchemas) -> None:
    """Adds `/v1/extract` and `/v1/extract/stream`."""

    @app.post(
        "/v1/extract",
        tags=["extraction"],
        summary="Extract records from one or many texts",
        dependencies=[sizes_checked(settings, max_texts=settings.max_texts)],
        responses=POSTED | problem_answers(INTERNAL, TIME_LIMIT),
    )
    async def extract(message: ExtractRequest, request: Request) -> ExtractResponse:
        # First: before the model is there, reading queries would wait for the imports that come with it.
        switches = _switches(message, engine)
        # Beside the event loop: what a schema means may take longer to find out than its size tells.
        queries = await asyncio.to_thread(
            read_queries, message, schemas, settings, max_texts=settings.max_texts
        )
        check_elements(message, queries)
        _note(request, queries)
        try:
            async with asyncio.timeout(settings.request_seconds):
                answers = await _unless_gone(request.receive, engine.answer(queries, switches))
        except TimeoutError:
            raise _time_limit(settings) from None
        faults = [
            RequestFault(field=text_field(message, index), detail=str(answer))
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
        dependencies=[sizes_checked(settings, max_texts=settings.max_stream_texts)],
        description=(
            "The same request with more texts. Each line of the answer is an extraction, in the order of the "
            "texts; a text without one has a line with `id` and `problem` instead, and the others go on."
        ),
        response_class=StreamingResponse,
        responses=POSTED
        | problem_answers(INTERNAL)
        | {200: {"description": "One JSON object a line.", "content": {_NDJSON: {"schema": STREAMED_LINE}}}},
    )
    async def extract_stream(message: ExtractRequest, request: Request) -> StreamingResponse:
        switches = _switches(message, engine)
        queries = await asyncio.to_thread(
            read_queries, message, schemas, settings, max_texts=settings.max_stream_texts
        )
        _note(request, queries)
        answers = engine.stream(queries, switches, seconds=settings.request_seconds)
        lines = _lines(message, queries, answers, settings, request.state.request_id)
        return StreamingResponse(lines, media_type=_NDJSON)


async def _lines(
    message: ExtractRequest,
    queries: "Sequence[Query]",
    answers: AsyncIterator[Extraction | TextError | TimeoutError],
    settings: ServerSettings,
    request_id: str,
) -> AsyncIterator[str]:
    remaining = iter(enumerate(queries))
    async for answer in answers:
        index, query = next(remaining)
        if isinstance(answer, Extraction):
            yield answer.to_json() + "\n"
            continue
        if isinstance(answer, TextError):
            problem = text_problem(message, index, query, answer)
        else:
            problem = _time_limit(settings)
        line = StreamedProblem(id=query.id, problem=problem.document(request_id))
        yield line.model_dump_json(exclude_none=True) + "\n"


def _switches(message: ExtractRequest, engine: TextQueue) -> Switches:
    engine.check_room()
    name = next(iter(engine.facts)) if message.model is None else message.model
    if name not in engine.facts:
        raise fault_at("model", f"the server has no model {show(name)}{did_you_mean(name, engine.facts)}")
    known = engine.facts[name].capabilities
    if not known and (message.explain or message.capabilities is not None):
        field = "explain" if message.explain else "capabilities"
        raise fault_at(field, f"the model {name} has no capability experts; leave it out")
    if message.capabilities is None:
        return Switches(model=name)
    chosen = [capability for capability in known if capability in message.capabilities]
    # All of them is what happens without a choice: one engine state fewer.
    return Switches(None if chosen == known else tuple(chosen), name)


async def _unless_gone(receive: Receive, work: Awaitable[Any]) -> Any:
    """The result of some work, which is cancelled when the client goes away; then a Problem is raised."""
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


def _time_limit(settings: ServerSettings) -> Problem:
    return Problem(
        TIME_LIMIT,
        f"no answer within {settings.request_seconds:g} s, the server's limit; send fewer or shorter texts",
    )


def _note(request: Request, queries: "Sequence[Query]") -> None:
    """Keeps for the log what a request asks."""
    request.state.texts = [query.text for query in queries]
    request.state.noted = {
        "num_texts": len(queries),
        "num_characters": sum(map(len, request.state.texts)),
    }
