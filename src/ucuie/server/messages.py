"""What clients send and get: the bodies of the API, their limits, and what they mean to the engine."""

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from ucuie.errors import ConfigError, SchemaError, did_you_mean
from ucuie.extraction import Extraction
from ucuie.options import AnswerOptions
from ucuie.schema import Capability, Schema, Task
from ucuie.schema_yaml import schema_yaml
from ucuie.server.problems import INVALID_REQUEST, TOO_LARGE, Fault, Problem, ProblemDocument
from ucuie.server.schemas import NamedSchema, NamedSchemas
from ucuie.server.settings import ServerSettings

if TYPE_CHECKING:
    from ucuie.extractor import Query

SchemaSource = Annotated[
    str | list[Any] | dict[str, Any],
    Field(
        description=(
            "What to look for: the name of one of the server's schemas, a list of names, a mapping from "
            'frames to slots, or `{"frames": [...]}`.'
        ),
        examples=["entities", ["person", "city"], {"work for": ["subject", "object"]}],
    ),
]


class _Message(BaseModel):
    """A body that clients send: unknown fields are refused, with the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _has_known_fields(cls, values: Any) -> Any:
        known = [info.alias or name for name, info in cls.model_fields.items()]
        for name in values if isinstance(values, dict) else ():
            if name not in known:
                detail = f"no field {name!r}{did_you_mean(name, known)}"
                raise PydanticCustomError("value_error", "{detail}", {"detail": detail})
        return values


class TextToRead(_Message):
    """A text with the id that its extraction gets."""

    id: str = Field(max_length=200)
    text: str


class ExtractRequest(_Message):
    """What to extract from which texts: either `text` or `texts`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "Ada Lovelace lived in London.", "schema": ["person", "location"]},
                {
                    "texts": [{"id": "a", "text": "Maria Okafor works for Bayer."}, "She lives in Cologne."],
                    "schema": {"work for": ["subject", "object"], "live in": ["subject", "object"]},
                },
                {"text": "The soup was great.", "schema": "opinions"},
            ]
        },
    )

    text: str | None = Field(default=None, description="One text.")
    texts: list[str | TextToRead] | None = Field(
        default=None, min_length=1, description="Several texts; ids are positions from 1 where none is given."
    )
    schema_source: SchemaSource = Field(alias="schema")
    task: Task | None = Field(
        default=None, description="Whose wording asks the model; left out, the schema's shape tells."
    )
    model: str | None = Field(
        default=None, description="Which of the server's models; left out, the first.", max_length=200
    )
    capabilities: list[Capability] | None = Field(
        default=None,
        description="Which of the model's capability experts take part; left out, all.",
    )

    threshold: float | dict[str, float] | None = Field(
        default=None,
        description="Least scores that are kept: one for all types, or by the names of frames and slots.",
        examples=[0.3, {"person": 0.5, "*": 0.2}],
    )
    end_bias: float = Field(
        default=0.0, description="Above 0 more records are found, below 0 fewer and surer ones."
    )
    raw_scores: bool = Field(
        default=False, description="Scores without the calibration that the model may have."
    )
    explain: bool = Field(
        default=False, description="Each record says which experts of the adapter wrote it."
    )

    @model_validator(mode="after")
    def _has_texts(self) -> Self:
        if (self.text is None) == (self.texts is None):
            raise ValueError('give either "text" or "texts"')
        return self


class ExtractResponse(BaseModel):
    """The extraction of each text, in their order."""

    extractions: list[Extraction]


class StreamedProblem(BaseModel):
    """The line of a stream that stands for a text without an extraction."""

    id: str
    problem: ProblemDocument


class SchemaToCheck(_Message):
    """A schema, as JSON or as the content of a YAML file."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"schema": ["person", "city"]}, {"yaml": "work for: [subject, object]\n"}]
        },
    )

    schema_source: SchemaSource | None = Field(default=None, alias="schema")
    yaml: str | None = Field(
        default=None, description="Instead of `schema`: YAML, for faults with their lines."
    )

    @model_validator(mode="after")
    def _has_one_schema(self) -> Self:
        if (self.schema_source is None) == (self.yaml is None):
            raise ValueError('give either "schema" or "yaml"')
        return self


class SchemaFacts(BaseModel):
    """A schema in its full form and as YAML, with the task that it has the shape of."""

    model_config = ConfigDict(serialize_by_alias=True)

    schema_: Schema = Field(alias="schema")
    yaml: str
    task: Task

    @classmethod
    def of(cls, schema: Schema, **names: str) -> Self:
        """The facts of a schema."""
        return cls(schema=schema, yaml=schema_yaml(schema), task=schema.task, **names)


class NamedSchemaFacts(SchemaFacts):
    """A schema that requests may name, with what it is for and a text to try it on, where there are any."""

    name: str
    title: str
    text: str

    @classmethod
    def of_named(cls, named: NamedSchema) -> Self:
        """The facts of a named schema."""
        return cls.of(named.schema, name=named.name, title=named.title, text=named.text)


class SchemaList(BaseModel):
    """The schemas that requests may name."""

    schemas: list[NamedSchemaFacts]


class ModelFactsMessage(BaseModel):
    """The model that answers.

    `capabilities` are those that requests may switch; a model without capability experts has none.
    """

    name: str
    num_parameters: int
    device: str
    capabilities: list[Capability]
    context_tokens: int | None


class Limits(BaseModel):
    """What a request may have at most."""

    texts: int
    stream_texts: int
    text_characters: int
    body_bytes: int


class ModelList(BaseModel):
    """The models of the server, and the limits of requests to them."""

    models: list[ModelFactsMessage]
    limits: Limits


class State(BaseModel):
    """Whether the server is well."""

    status: str


def read_schema(
    source: str | list[Any] | dict[str, Any], named: NamedSchemas, settings: ServerSettings
) -> Schema:
    """The schema of a request.

    Raises:
        Problem: it is unknown, invalid or too large.
    """
    try:
        # A string is a name and never a path: files of the server are none of the client's business.
        schema = named[source].schema if isinstance(source, str) else Schema.of(source)
    except SchemaError as error:
        raise Problem(INVALID_REQUEST, faults=[_schema_fault(error)]) from None
    except RecursionError:
        detail = "is nested too deeply; a schema is frames with slots"
        raise Problem(INVALID_REQUEST, faults=[Fault(field="schema", detail=detail)]) from None
    _check_schema_size(schema, settings)
    return schema


def read_yaml_schema(text: str, settings: ServerSettings) -> Schema:
    """The schema that YAML describes.

    Raises:
        Problem: it is invalid or too large.
    """
    # Before anything is read: YAML takes its time.
    if len(text) > settings.max_schema_characters:
        raise _too_large("yaml", len(text), settings.max_schema_characters, "characters")
    try:
        schema = Schema.from_yaml(text)
    except SchemaError as error:
        raise Problem(INVALID_REQUEST, faults=[_schema_fault(error)]) from None
    _check_schema_size(schema, settings)
    return schema


def read_queries(
    request: ExtractRequest, named: NamedSchemas, settings: ServerSettings, *, max_texts: int
) -> "list[Query]":
    """What a request asks the engine.

    Raises:
        Problem: a text or the schema is too large, or the schema is unknown or invalid.
    """
    from ucuie.extractor import Query

    if request.texts is None:
        texts = [("1", request.text or "")]
    else:
        texts = [
            (item.id, item.text) if isinstance(item, TextToRead) else (str(number), item)
            for number, item in enumerate(request.texts, start=1)
        ]
    if len(texts) > max_texts:
        raise _too_large("texts", len(texts), max_texts, "texts")
    for index, (_, text) in enumerate(texts):
        if len(text) > settings.max_text_characters:
            raise _too_large(
                text_field(request, index), len(text), settings.max_text_characters, "characters"
            )
    schema = read_schema(request.schema_source, named, settings)
    task = request.task or schema.task
    options = _read_options(request, schema)
    return [Query(text_id, text, schema, task, options=options) for text_id, text in texts]


def _read_options(request: ExtractRequest, schema: Schema) -> AnswerOptions:
    try:
        options = AnswerOptions.of(
            threshold=request.threshold,
            end_bias=request.end_bias,
            raw_scores=request.raw_scores,
            explain=request.explain,
        )
        options.threshold.check(schema)
    except ConfigError as error:
        raise Problem(INVALID_REQUEST, str(error)) from None
    return options


def text_field(request: ExtractRequest, index: int) -> str:
    """What the field of a text is called."""
    return "text" if request.texts is None else f"texts[{index}]"


def _schema_fault(error: SchemaError) -> Fault:
    return Fault(field="schema", detail=str(error).removeprefix("schema error: "))


def _check_schema_size(schema: Schema, settings: ServerSettings) -> None:
    num_names = len(schema.frames) + sum(len(frame.slots) for frame in schema.frames)
    if num_names > settings.max_schema_names:
        raise _too_large("schema", num_names, settings.max_schema_names, "frames and slots")
    num_characters = len(schema.model_dump_json())
    if num_characters > settings.max_schema_characters:
        raise _too_large("schema", num_characters, settings.max_schema_characters, "characters")


def _too_large(field: str, num: int, limit: int, unit: str) -> Problem:
    detail = f"has {num:,} {unit}, this server takes {limit:,}; send it in parts"
    return Problem(TOO_LARGE, faults=[Fault(field=field, detail=detail)])
