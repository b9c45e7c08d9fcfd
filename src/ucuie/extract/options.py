"""What may be asked of an answer and of a model beside text and schema, each option declared once.

The methods of extractors, the flags of the command, the fields of the HTTP API, what a resumed run compares
and the reference pages are all made from the classes here; the line below a field is what all of them say.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypedDict, TypeVar, Unpack

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

from ucuie.errors import ConfigError, did_you_mean, show
from ucuie.extract.thresholds import Thresholds, ThresholdSource
from ucuie.model.operating_point import OperatingPoint
from ucuie.schema import Capability

Explain = bool | Literal["linears"]
"""Whether records carry an explanation, and with "linears" one for each adapted linear as well."""
BATCH_SIZE = 32
_NUMBERS_BY_NAME = {"type": "object", "additionalProperties": {"type": "number"}}
_Count = TypeVar("_Count", int, int | None)


def positive(name: str, value: _Count) -> _Count:
    """A number of something, as it is.

    Raises:
        ConfigError: there is less than one of it.
    """
    if value is not None and value < 1:
        raise ConfigError(f"{name} is {value:,}; it has to be at least 1")
    return value


def _refusal(detail: str) -> PydanticCustomError:
    return PydanticCustomError("value_error", "{detail}", {"detail": detail})


def _thresholds(source: Any) -> Thresholds:
    try:
        return source if isinstance(source, Thresholds) else Thresholds.of(source)
    except ConfigError as error:
        raise _refusal(str(error)) from None


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class AnswerOptions(_Options):
    """How one text is to be answered."""

    threshold: Annotated[
        Thresholds,
        BeforeValidator(_thresholds),
        PlainSerializer(lambda thresholds: dict(thresholds.values) or None),
        WithJsonSchema({"anyOf": [{"type": "number"}, _NUMBERS_BY_NAME, {"type": "null"}]}),
    ] = Field(
        default=Thresholds(),
        examples=[0.3, 0, {"person": 0.5, "*": 0.2}],
        json_schema_extra={"default": None},
    )
    """Least scores that are kept: one for all types, or by the names of frames and slots. Types without one
    go by the model's own; 0 keeps everything."""

    end_bias: float = 0.0
    """Above 0 more records are found, below 0 fewer and surer ones; added to the model's own. In logits: 2
    makes "another record" e^2 = 7.4 times as likely against "the end"."""

    n_best: int = Field(default=1, json_schema_extra={"minimum": 1})
    """The likeliest answer to a text and up to so many alternatives less one, by a search with so many beams,
    whose time grows with them; a text too long to be read as a whole has none, and `dropped` says so."""

    raw_scores: bool = False
    """Scores are the model's own probabilities, without the calibration that it may have, and without its
    threshold."""

    explain: Explain = False
    """Each record says which experts of the adapter wrote it; with "linears", also for each adapted linear of
    the model."""

    @field_validator("end_bias", mode="before")
    @classmethod
    def _is_finite(cls, value: object) -> object:
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise _refusal(f"end_bias is {show(value)}; it has to be a finite number, 0 for none")
        return value

    @field_validator("n_best", mode="before")
    @classmethod
    def _is_count(cls, value: object) -> object:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise _refusal(
                f"n_best is {show(value)}; it has to be a whole number of answers, 1 for no alternatives"
            )
        return value

    @field_validator("explain", mode="before")
    @classmethod
    def _is_known(cls, value: object) -> object:
        if value not in (True, False, "linears"):
            raise _refusal(f"explain is {show(value)}; it has to be True, False or 'linears'")
        return value

    @classmethod
    def of(cls, **arguments: Unpack["OptionArguments"]) -> Self:
        """The options of some arguments.

        Raises:
            ConfigError: a threshold is no number from 0 to 1, the bias is not finite, `explain` unknown,
                `n_best` not positive, or there is no such option.
        """
        for name in arguments:
            if name not in cls.model_fields:
                raise ConfigError(f"no option {show(name)}{did_you_mean(name, cls.model_fields)}")
        try:
            return cls.model_validate(arguments)
        except ValidationError as error:
            raise ConfigError("; ".join(fault["msg"] for fault in error.errors())) from None

    def is_given(self, name: str) -> bool:
        """Whether an option is another than it is where nobody asks for it."""
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    def at(self, point: OperatingPoint) -> Self:
        """The options for a model that stands at this point.

        Its threshold counts calibrated scores: where raw ones are asked for, nothing goes by it.
        """
        threshold = self.threshold if self.raw_scores else self.threshold.or_else(point.threshold)
        return self.model_copy(update={"threshold": threshold, "end_bias": self.end_bias + point.end_bias})


class OptionArguments(TypedDict, total=False):
    """The fields of `AnswerOptions`, as the methods of extractors take them."""

    threshold: ThresholdSource
    end_bias: float
    n_best: int
    raw_scores: bool
    explain: Explain


NEED_THE_MODEL = ("end_bias", "explain", "n_best")
"""Answer options that need the inside of the model, which an endpoint does not give."""


class ModelOptions(_Options):
    """Which model answers, and how it does its work: what `Extractor.from_pretrained` takes."""

    model: str | None = None
    """Model folder, GGUF file or hub id; left out, the default."""

    device: str | None = None
    """cpu, cuda, cuda:1 ...; left out, a GPU if there is one."""

    capabilities: tuple[Capability, ...] | None = None
    """Capability experts that take part; left out, all of them. The shared expert always does."""

    window_tokens: int | None = Field(default=None, ge=1)
    """Longer texts are read in windows of so many tokens; left out, as many as in training."""

    max_new_tokens: int | None = Field(default=None, ge=1)
    """Where the output for a window is cut; its extraction is then marked as truncated. Left out, nothing is
    cut."""

    batch_size: int = Field(default=BATCH_SIZE, ge=1)
    """Texts, or windows of long ones, per forward pass."""

    int8: bool = False
    """Large products are rounded to 8 bits: faster on a CPU, and now and then another answer."""

    @property
    def asked(self) -> Mapping[str, Any]:
        """All that an answer depends on, as plain types: not the device, nor how many texts at once."""
        return self.model_dump(mode="json", exclude={"device", "batch_size"})
