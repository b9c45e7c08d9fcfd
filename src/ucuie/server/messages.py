"""The bodies of the API, those that clients send and those that they get. What they ask is `queries`."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from ucuie.errors import did_you_mean, show
from ucuie.extract.options import AnswerOptions
from ucuie.extract.result import Extraction
from ucuie.schema import Capability, Record, Schema, Task
from ucuie.schema.drafting import schema_yaml
from ucuie.server.schemas import NamedSchema

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

ElementList = Annotated[
    list[Record],
    Field(
        description=(
            "The spans that the task associating links, shaped as the records of the task locating: the name "
            "of a frame or slot, and its filler with half-open offsets in code points."
        )
    ),
]


_MAX_FAULTS = 1_000
"""Of one body; describing each takes longer than finding it."""


def _refusal(detail: str) -> PydanticCustomError:
    return PydanticCustomError("value_error", "{detail}", {"detail": detail})


class _Message(BaseModel):
    """A body that clients send: unknown fields are refused, with the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _has_known_fields(cls, values: Any) -> Any:
        known = [info.alias or name for name, info in cls.model_fields.items()]
        for name in values if isinstance(values, dict) else ():
            if name not in known:
                raise _refusal(f"no field {show(name)}{did_you_mean(name, known)}")
        return values

    @model_validator(mode="wrap")
    @classmethod
    def _has_few_faults(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return validate(values)
        except ValidationError as error:
            if error.error_count() <= _MAX_FAULTS:
                raise
            raise _refusal(
                f"has {error.error_count():,} faults; /openapi.json says what it may hold"
            ) from None


class TextToRead(_Message):
    """A text with the id that its extraction gets, and its located spans for the task associating."""

    id: str = Field(max_length=200)
    text: str
    elements: ElementList | None = None


class ExtractRequest(_Message, AnswerOptions):
    """Texts, either `text` or `texts`, what to extract from them and how."""

    text: str | None = None
    """One text."""
    texts: list[str | TextToRead] | None = Field(default=None, min_length=1)
    """Several texts; ids are positions from 1 where none is given."""
    schema_source: SchemaSource = Field(alias="schema")
    elements: ElementList | None = None
    task: Literal[Task, Capability] | None = Field(
        default=None,
        description=(
            "NER, RE, EE or ABSA; left out, the schema's shape tells. Or one part of an answer: judging for "
            "the types that occur, locating for candidate spans, associating to link the given `elements`."
        ),
    )
    model: str | None = Field(default=None, max_length=200)
    """Which of the server's models; left out, the first."""
    capabilities: list[Capability] | None = None
    """Which of the model's capability experts take part; left out, all."""

    @model_validator(mode="after")
    def _has_texts(self) -> Self:
        if (self.text is None) == (self.texts is None):
            raise ValueError('give either "text" or "texts"')
        return self


class ExtractResponse(BaseModel):
    """The extraction of each text, in their order."""

    extractions: list[Extraction]


class SchemaToCheck(_Message):
    """A schema, as JSON or as the content of a YAML file."""

    schema_source: SchemaSource | None = Field(default=None, alias="schema")
    yaml: str | None = None
    """Instead of `schema`: YAML, for faults with their lines."""

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

    `capabilities` are those that requests may switch; a model without capability experts has none. Requests
    add their `end_bias` to that of the model, and go by its `threshold` for the task where they give none.
    """

    name: str
    num_parameters: int
    device: str
    capabilities: list[Capability]
    context_tokens: int | None
    end_bias: float
    threshold: dict[Task, float]


class Limits(BaseModel):
    """The most that a request may have."""

    texts: int
    stream_texts: int
    text_characters: int
    body_bytes: int


class ModelList(BaseModel):
    """The models of the server, and the limits of requests to them."""

    models: list[ModelFactsMessage]
    limits: Limits


class State(BaseModel):
    """The state of the server."""

    status: str
