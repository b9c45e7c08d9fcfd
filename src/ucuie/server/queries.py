"""Reads messages as queries, within the server's limits; a problem names the field and what to do."""

import json
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from fastapi import Depends, Request

from ucuie.errors import MAX_LISTED_FAULTS, ConfigError, TextError, show
from ucuie.extract.options import AnswerOptions
from ucuie.schema import Schema
from ucuie.server.messages import ExtractRequest, SchemaToCheck, TextToRead
from ucuie.server.problems import INVALID_REQUEST, TOO_LARGE, Problem, RequestFault, fault_at
from ucuie.server.schemas import NamedSchemas
from ucuie.server.settings import ServerSettings

if TYPE_CHECKING:
    from ucuie.extract.query import Query

_TOO_DEEP = "is nested too deeply; a schema is frames with slots"


def _read_schema(
    source: str | list[Any] | dict[str, Any], named: NamedSchemas, settings: ServerSettings
) -> Schema:
    try:
        # A string is a name and never a path: files of the server are none of the client's business.
        schema = named[source].schema if isinstance(source, str) else Schema.of(source)
    except RecursionError:
        raise fault_at("schema", _TOO_DEEP) from None
    _check_schema_size(schema, settings)
    return schema


def read_checked_schema(message: SchemaToCheck, named: NamedSchemas, settings: ServerSettings) -> Schema:
    """The schema of a message, which may be YAML.

    Raises:
        SchemaError: it is unknown or invalid.
        Problem: it is nested too deeply or too large.
    """
    if message.yaml is None:
        assert message.schema_source is not None
        return _read_schema(message.schema_source, named, settings)
    schema = Schema.from_yaml(message.yaml)
    _check_schema_size(schema, settings)
    return schema


def read_queries(
    request: ExtractRequest, named: NamedSchemas, settings: ServerSettings, *, max_texts: int
) -> "list[Query]":
    """The queries of a request.

    Raises:
        SchemaError: the schema is unknown or invalid.
        Problem: a text, its elements or the schema is too large, or an option is impossible.
    """
    from ucuie.extract.query import Query

    texts = _texts(request)
    _check_answers(request, len(texts), settings, max_texts=max_texts)
    schema = _read_schema(request.schema_source, named, settings)
    task = request.task or schema.task
    _check_elements_are_wanted(request, texts)
    options = _read_options(request, schema)
    return [
        Query(
            item.id, item.text, schema, task, None if item.elements is None else tuple(item.elements), options
        )
        for item in texts
    ]


def check_elements(request: ExtractRequest, queries: "Sequence[Query]") -> None:
    """Refuse a request with located spans that are missing or cannot be right.

    Raises:
        Problem: names them, as many as a problem lists.
    """
    if faults := _listed_element_faults(request, enumerate(queries)):
        raise Problem(INVALID_REQUEST, faults=faults)


def text_field(request: ExtractRequest, index: int) -> str:
    """The name of the field that a text stands in."""
    return "text" if request.texts is None else f"texts[{index}]"


def text_problem(request: ExtractRequest, index: int, query: "Query", error: TextError) -> Problem:
    """The problem of a text that has no extraction, with the field that is at fault: text or elements."""
    try:
        query.check()
    except TextError:
        faults = []
    else:
        faults = _listed_element_faults(request, [(index, query)])
    if faults:
        return Problem(INVALID_REQUEST, faults=faults)
    return fault_at(text_field(request, index), str(error))


def _texts(request: ExtractRequest) -> list[TextToRead]:
    # Not validated anew: the parts are.
    if request.texts is None:
        return [TextToRead.model_construct(id="1", text=request.text or "", elements=request.elements)]
    return [
        item if isinstance(item, TextToRead) else TextToRead.model_construct(id=str(number), text=item)
        for number, item in enumerate(request.texts, start=1)
    ]


def sizes_checked(settings: ServerSettings, *, max_texts: int = 1) -> Any:
    """A route's dependency: refuses a body of which something is too large before it becomes a message."""

    async def check(request: Request) -> None:
        if await request.body():
            _check_sizes(await request.json(), settings, max_texts)

    return Depends(check)


def _check_sizes(body: Any, settings: ServerSettings, max_texts: int) -> None:
    if not isinstance(body, dict):
        return
    texts = body.get("texts")
    if isinstance(texts, list):
        _check_size("texts", len(texts), max_texts, "texts")
    _check_text_sizes(body, "", settings)
    for index, item in enumerate(texts if isinstance(texts, list) else ()):
        field = f"texts[{index}]"
        if isinstance(item, dict):
            _check_text_sizes(item, f"{field}.", settings)
        else:
            _check_size(field, _length(item, str), settings.max_text_characters, "characters")
    limit = settings.max_schema_characters
    # YAML takes its time.
    _check_size("yaml", _length(body.get("yaml"), str), limit, "characters")
    try:
        written = json.dumps(body.get("schema"), ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        raise fault_at("schema", _TOO_DEEP) from None
    _check_size("schema", len(written), limit, "characters")


def _check_text_sizes(item: dict[str, Any], prefix: str, settings: ServerSettings) -> None:
    num_characters = _length(item.get("text"), str)
    _check_size(f"{prefix}text", num_characters, settings.max_text_characters, "characters")
    _check_size(f"{prefix}elements", _length(item.get("elements"), list), settings.max_elements, "elements")


def _length(value: Any, kind: type[str] | type[list[Any]]) -> int:
    return len(value) if isinstance(value, kind) else 0


def _check_answers(
    request: ExtractRequest, num_texts: int, settings: ServerSettings, *, max_texts: int
) -> None:
    # Beams of a text share a batch.
    if request.n_best > settings.batch_size:
        detail = (
            f"is {show(request.n_best)}, this server gives a text {settings.batch_size:,} answers at most; "
            "ask for fewer"
        )
        raise fault_at("n_best", detail, TOO_LARGE)
    num_answers = request.n_best * num_texts
    if num_answers > max_texts:
        detail = (
            f"makes {num_answers:,} answers to {num_texts:,} texts, this server gives {max_texts:,}; "
            "ask for fewer, or send the texts in parts"
        )
        raise fault_at("n_best", detail, TOO_LARGE)


def _check_elements_are_wanted(request: ExtractRequest, texts: Sequence[TextToRead]) -> None:
    if request.texts is not None and request.elements is not None:
        detail = "belong to `text`; of several texts each is an object with its own id, text and elements"
        raise fault_at("elements", detail)
    if request.task == "associating":
        return
    detail = "are only for the task associating; leave them out, or set `task` to it"
    faults = [
        RequestFault(field=_elements_field(request, index), detail=detail)
        for index, item in enumerate(texts)
        if item.elements is not None
    ]
    if faults:
        raise Problem(INVALID_REQUEST, faults=faults)


def _listed_element_faults(
    request: ExtractRequest, queries: "Iterable[tuple[int, Query]]"
) -> list[RequestFault]:
    """The faults of located spans; each query comes with the position of its text."""
    found = (
        RequestFault(field=field if position is None else f"{field}[{position}]", detail=detail)
        for index, query in queries
        for field in [_elements_field(request, index)]
        for position, detail in query.element_faults()
    )
    # No more are looked for: the nearest name to an unknown one takes time.
    return list(islice(found, MAX_LISTED_FAULTS))


def _elements_field(request: ExtractRequest, index: int) -> str:
    return "elements" if request.texts is None else f"texts[{index}].elements"


def _read_options(request: ExtractRequest, schema: Schema) -> AnswerOptions:
    # Not validated anew: the request is.
    options = AnswerOptions.model_construct(
        **{name: getattr(request, name) for name in AnswerOptions.model_fields}
    )
    try:
        options.threshold.check(schema)
    except ConfigError as error:
        raise fault_at("threshold", str(error)) from None
    return options


def _check_schema_size(schema: Schema, settings: ServerSettings) -> None:
    num_names = len(schema.frames) + sum(len(frame.slots) for frame in schema.frames)
    _check_size("schema", num_names, settings.max_schema_names, "frames and slots")
    num_characters = len(schema.model_dump_json())
    _check_size("schema", num_characters, settings.max_schema_characters, "characters")


def _check_size(field: str, num: int, limit: int, unit: str) -> None:
    if num > limit:
        detail = f"has {num:,} {unit}, this server takes {limit:,}; send it in parts"
        raise fault_at(field, detail, TOO_LARGE)
