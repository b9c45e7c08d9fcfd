"""What those who run the server look at: life, readiness, counters."""

from fastapi import FastAPI, Response

from ucuie.server.messages import State
from ucuie.server.metrics import Metrics
from ucuie.server.openapi import ALWAYS, GUARDED, problem_answers
from ucuie.server.problems import UNAVAILABLE, Problem
from ucuie.server.text_queue import NotReadyError, TextQueue


def add_operation(app: FastAPI, engine: TextQueue, metrics: Metrics) -> None:
    """Adds `/healthz`, `/readyz` and `/metrics`."""

    @app.get(
        "/healthz",
        tags=["operation"],
        summary="Whether the process works",
        responses=problem_answers(*ALWAYS),
    )
    async def health() -> State:
        if not engine.is_alive:
            raise Problem(UNAVAILABLE, "the engine has ended; start the server anew")
        return State(status="ok")

    @app.get(
        "/readyz",
        tags=["operation"],
        summary="Whether the model is loaded",
        responses=problem_answers(*ALWAYS),
    )
    async def readiness() -> State:
        if not engine.is_ready:
            raise NotReadyError("the model is not loaded yet")
        return State(status="ready")

    @app.get(
        "/metrics",
        tags=["operation"],
        summary="Counters for Prometheus",
        response_class=Response,
        responses=problem_answers(*GUARDED)
        | {200: {"description": "Prometheus's text format.", "content": {"text/plain": {}}}},
    )
    async def show_metrics() -> Response:
        metrics.waiting.set(engine.num_waiting)
        metrics.running.set(engine.num_running)
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")
