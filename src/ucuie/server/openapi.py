"""The OpenAPI document, as far as the framework cannot know it: problems, lines of a stream, examples."""

from pathlib import Path
from typing import Any

import yaml
from fastapi import FastAPI
from fastapi.utils import deep_dict_update
from pydantic import BaseModel

from ucuie.server.problems import (
    INVALID_REQUEST,
    MALFORMED,
    MEDIA,
    MEDIA_TYPE,
    QUEUE_FULL,
    TOO_LARGE,
    TOO_SLOW,
    UNAUTHORIZED,
    UNAVAILABLE,
    WRONG_HOST,
    Kind,
    ProblemDocument,
)

_SCHEMAS = "#/components/schemas/"
STREAMED_LINE = {"$ref": f"{_SCHEMAS}StreamedLine"}


def problem_answers(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """The answers of a route that are problems of these kinds."""
    content = {MEDIA_TYPE: {"schema": {"$ref": f"{_SCHEMAS}ProblemDocument"}}}
    return {
        kind.status: {"description": f"{kind.meaning or kind.title}.", "content": content} for kind in kinds
    }


class StreamedProblem(BaseModel):
    """The line of a stream that stands for a text without an extraction."""

    id: str
    problem: ProblemDocument


ALWAYS = problem_answers(MALFORMED, TOO_SLOW, TOO_LARGE, WRONG_HOST, QUEUE_FULL, UNAVAILABLE)
"""Problems of any request, whatever it asks for."""
GUARDED = ALWAYS | problem_answers(UNAUTHORIZED)
"""Problems of addresses that ask for keys."""
POSTED = GUARDED | problem_answers(MEDIA, INVALID_REQUEST)
"""Problems of requests with a body."""


def describe(app: FastAPI) -> None:
    """Adds to the document what the framework cannot know."""
    document = app.openapi()
    schemas = document["components"]["schemas"]
    for message in (ProblemDocument, StreamedProblem):
        described = message.model_json_schema(ref_template=f"{_SCHEMAS}{{model}}")
        schemas |= described.pop("$defs", {})
        schemas[message.__name__] = described
    more = Path(__file__).with_suffix(".yaml").read_text("utf-8")
    deep_dict_update(document, yaml.safe_load(more))
