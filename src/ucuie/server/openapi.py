"""The OpenAPI document, as far as the framework cannot know it: problems, lines of a stream, keys."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ucuie.server.messages import StreamedProblem
from ucuie.server.problems import MEDIA_TYPE, ProblemDocument

STREAMED_LINE = {"$ref": "#/components/schemas/StreamedLine"}
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
ALWAYS = (400, 408, 413, 421, 429, 503)
"""What any request may be answered with, whatever it asks for."""
GUARDED = (*ALWAYS, 401)
"""Where keys are asked for."""
POSTED = (*GUARDED, 415, 422)
"""Where there is a body."""


def problem_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route says about its answers with these statuses."""
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    return {
        status: {"description": _PROBLEMS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def describe(app: FastAPI) -> None:
    """Adds to the OpenAPI document what the framework cannot know."""

    def make() -> dict[str, Any]:
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

    app.openapi = make  # type: ignore[method-assign]
