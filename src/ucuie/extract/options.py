"""What may be asked of an answer and of a model beside text and schema, each option declared once.

The methods of extractors, the flags of the command, the fields of the HTTP API, what a resumed run compares
and the reference pages are all made from the classes here; the line below a field is what all of them say.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Literal, Self, TypedDict, TypeVar, Unpack

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

from ucuie.errors import MAX_LISTED_FAULTS, ConfigError, did_you_mean, show
from ucuie.model.operating_point import OperatingPoint
from ucuie.schema import Capability, Dropped, Filler, Record, Schema, Task

ANY = "*"
BELOW = "below the threshold"
"""The reason given in `dropped`."""

ThresholdSource = float | Mapping[str, float] | None
"""One for all types, or by names; None leaves it to the model, 0 keeps everything."""

Explain = bool | Literal["linears"]
"""Whether records carry an explanation, and with "linears" one for each adapted linear as well."""
BATCH_SIZE = 32
MAX_END_BIAS = 100
"""In logits; nothing is likelier or less likely than with it."""
_NUMBERS_BY_NAME = {"type": "object", "additionalProperties": {"type": "number"}}
_Count = TypeVar("_Count", int, int | None)


@dataclass(frozen=True)
class Thresholds:
    """The least scores that are kept; names and values in the order given.

    A record goes by its frame, a slot by `frame / slot` or its own name, both else by `*`. A record below its
    threshold goes as a whole; of the others slots below theirs go, and the record with its last filler.
    """

    values: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, source: ThresholdSource) -> "Thresholds":
        """The thresholds of a number for all types, or of a mapping from names to numbers; None has none.

        Raises:
            ConfigError: a threshold is no number from 0 to 1.
        """
        if source is None:
            return cls()
        by_name = source if isinstance(source, Mapping) else {ANY: source}
        return cls(tuple((str(name), _checked(name, value)) for name, value in by_name.items()))

    @classmethod
    def parse(cls, arguments: Iterable[str]) -> "Thresholds":
        """The thresholds of a command line: each `0.5` or `person=0.5`, of equal names the last.

        Raises:
            ConfigError: a threshold is no number from 0 to 1.
        """
        by_name = {}
        for argument in arguments:
            name, separator, value = argument.rpartition("=")
            try:
                by_name[name if separator else ANY] = float(value)
            except ValueError:
                raise ConfigError(
                    f"the threshold {show(argument)} has no number; write 0.5 for all types, or person=0.5"
                ) from None
        return cls.of(by_name)

    def or_else(self, least: float) -> "Thresholds":
        """The same, with this one for all types that have none."""
        if not least or any(name == ANY for name, _ in self.values):
            return self
        return Thresholds((*self.values, (ANY, least)))

    def check(self, schema: Schema) -> None:
        """Refuse names that the schema does not have.

        Raises:
            ConfigError: the message lists them, each with the nearest.
        """
        known = dict.fromkeys(frame.name for frame in schema.frames)
        known |= dict.fromkeys(slot for frame in schema.frames for slot in frame.slot_names)
        labels = {_label(frame.name, slot) for frame in schema.frames for slot in frame.slot_names}
        unknown = (
            name for name, _ in self.values if name != ANY and name not in known and name not in labels
        )
        # No more are looked for than a message lists: the nearest name to an unknown one takes time.
        faults = [
            f"no type {show(name)} for a threshold{did_you_mean(name, [*known, ANY])}"
            for name in islice(unknown, MAX_LISTED_FAULTS)
        ]
        if faults:
            raise ConfigError("; ".join(faults))

    def keep(
        self, records: Iterable[Record], dropped: Iterable[Dropped] = ()
    ) -> tuple[tuple[Record, ...], tuple[Dropped, ...]]:
        """The records that reach their thresholds, and what is left out; what has no score stays.

        Args:
            records: with their scores.
            dropped: what was left out before, for other reasons.
        """
        kept, left_out = [], list(dropped)
        for record in records:
            slots, below = [], []
            for filled in record.slots:
                label = _label(record.frame, filled.slot)
                if filled.filler is not None and self._is_below(filled.filler.score, label, filled.slot):
                    below.append(_dropped(label, [filled.filler], filled.filler.score))
                else:
                    slots.append(filled)
            rest = record.model_copy(update={"slots": tuple(slots)}) if below else record
            if self._is_below(record.score, record.frame) or (below and not any(rest.fillers())):
                left_out.append(_dropped(record.frame, record.fillers(), record.score))
            else:
                left_out += below
                kept.append(rest)
        return tuple(kept), tuple(left_out)

    def _is_below(self, score: float | None, *names: str) -> bool:
        """Tell whether a score is below the threshold of the first name that has one."""
        values = dict(self.values)
        least = next((values[name] for name in (*names, ANY) if name in values), 0.0)
        return score is not None and score < least


def _checked(name: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1:
        of_name = "" if name == ANY else f" of {show(name)}"
        raise ConfigError(f"the threshold{of_name} is {show(value)}; it has to be a number from 0 to 1")
    return float(value)


def _label(frame: str, slot: str) -> str:
    return f"{frame} / {slot}"


def _dropped(label: str, fillers: Iterable[Filler], score: float | None) -> Dropped:
    texts = ", ".join(filler.text for filler in fillers)
    return Dropped(
        reason=BELOW, value=f"{label}: {texts} ({'no score' if score is None else f'{score:.2f}'})"
    )


def positive(name: str, value: _Count) -> _Count:
    """A number of something, as it is.

    Raises:
        ConfigError: there is less than one of it.
    """
    if value is not None and value < 1:
        raise ConfigError(f"{name} is {value:,}; it has to be at least 1")
    return value


def check_names(given: Iterable[str], options: Iterable[str]) -> None:
    """Refuse options that are not among those there are.

    Raises:
        ConfigError: the message names the nearest.
    """
    for name in given:
        if name not in options:
            raise ConfigError(f"no option {show(name)}{did_you_mean(name, options)}")


def _refusal(detail: str) -> PydanticCustomError:
    return PydanticCustomError("value_error", "{detail}", {"detail": detail})


def _thresholds(source: Any) -> Thresholds:
    try:
        return source if isinstance(source, Thresholds) else Thresholds.of(source)
    except ConfigError as error:
        raise _refusal(str(error)) from None


_POSSIBLE: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "end_bias": (
        lambda value: isinstance(value, int | float) and -MAX_END_BIAS <= value <= MAX_END_BIAS,
        f"a finite number from -{MAX_END_BIAS} to {MAX_END_BIAS}, 0 for none",
    ),
    "n_best": (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 1,
        "a whole number of answers, 1 for no alternatives",
    ),
    "explain": (lambda value: value in (True, False, "linears"), "True, False or 'linears'"),
}
"""Which values an option may have, and the same in words."""


class AnswerOptions(BaseModel, frozen=True, extra="forbid", use_attribute_docstrings=True):
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

    @field_validator(*_POSSIBLE, mode="before")
    @classmethod
    def _is_possible(cls, value: Any, info: ValidationInfo) -> Any:
        is_possible, words = _POSSIBLE[info.field_name or ""]
        if not is_possible(value):
            raise _refusal(f"{info.field_name} is {show(value)}; it has to be {words}")
        return value

    @classmethod
    def of(cls, **arguments: Unpack["OptionArguments"]) -> Self:
        """The options of some arguments.

        Raises:
            ConfigError: a threshold is no number from 0 to 1, the bias is not finite, `explain` unknown,
                `n_best` not positive, or there is no such option.
        """
        check_names(arguments, cls.model_fields)
        try:
            return cls.model_validate(arguments)
        except ValidationError as error:
            raise ConfigError("; ".join(fault["msg"] for fault in error.errors())) from None

    def is_given(self, name: str) -> bool:
        """Tell whether an option is another than it is where nobody asks for it."""
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    def at(self, point: OperatingPoint, task: Task | Capability) -> Self:
        """The options for a model that stands at this point, when it answers to a task.

        Its threshold counts calibrated scores: where raw ones are asked for, nothing goes by it.
        """
        own = 0.0 if self.raw_scores else point.threshold_of(task)
        threshold = self.threshold.or_else(own)
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


class ModelOptions(BaseModel, frozen=True, extra="forbid", use_attribute_docstrings=True):
    """The model that answers, and how it does its work: what `Extractor.from_pretrained` takes."""

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
