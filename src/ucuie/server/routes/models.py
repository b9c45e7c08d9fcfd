"""The models that answer, and the limits of requests to them."""

from fastapi import FastAPI

from ucuie.server.messages import Limits, ModelFactsMessage, ModelList
from ucuie.server.openapi import GUARDED, problem_answers
from ucuie.server.settings import ServerSettings
from ucuie.server.text_queue import NotReadyError, TextQueue


def add_models(app: FastAPI, engine: TextQueue, settings: ServerSettings) -> None:
    """Adds `/v1/models`."""

    @app.get(
        "/v1/models",
        tags=["models"],
        summary="The models that answer, and the limits of requests",
        responses=problem_answers(*GUARDED),
    )
    async def list_models() -> ModelList:
        if not engine.facts:
            raise NotReadyError("the model is not loaded yet")
        models = [
            ModelFactsMessage(
                name=name,
                num_parameters=facts.num_parameters,
                device=facts.device,
                capabilities=list(facts.capabilities),
                context_tokens=facts.context_tokens,
                end_bias=facts.operating_point.end_bias,
                threshold=facts.operating_point.threshold,
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
