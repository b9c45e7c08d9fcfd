"""The vocabulary of the whole package: what is asked for (`Schema`) and what is found (`Record`).

A schema is a list of frames, each with slots. A record is one filled frame: the frame's name, the text
that evokes it (its filler, absent for a relation) and its filled slots. Spans are half-open and count
code points of the user's own text. How files, dicts and classes are read is `sources`.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from operator import is_, not_
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import PydanticCustomError

from ucuie.errors import SchemaError, TextError, did_you_mean, show
from ucuie.schema.sources import SchemaSource, read_schema_source, read_schema_yaml

Task = Literal["NER", "RE", "EE", "ABSA"]
Capability = Literal["judging", "locating", "associating"]
Split = Literal["train", "validation", "test"]
ElementKind = Literal["record", "filler", "slot"]
"""An element with a score: a record as a whole, the text that evokes it, the text that fills a slot."""
Span = tuple[int, int]
"""A half-open range of code points of a text: `text[start:end]`."""

TASKS: tuple[Task, ...] = get_args(Task)
CAPABILITIES: tuple[Capability, ...] = get_args(Capability)
SPLITS: tuple[Split, ...] = get_args(Split)
ELEMENT_KINDS: tuple[ElementKind, ...] = get_args(ElementKind)

IS_NONE = partial(is_, None)
"""For `exclude_if`: no code in Python, in which pydantic would take Ctrl-C for a fault of the value."""
_OPINION_SLOTS = {"aspect", "opinion"}


def _name(value: str) -> str:
    value = value.strip()
    if not value:
        raise ValueError("a name is empty")
    return _encodable("name", value)


def _encodable(what: str, value: str) -> str:
    if not _is_encodable(value):
        raise ValueError(f"the {what} {show(value)} holds a lone surrogate, which no tokenizer can read")
    return value


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


Name = Annotated[str, AfterValidator(_name)]
Description = Annotated[str, AfterValidator(partial(_encodable, "description"))]


def _if_given(**constraints: Any) -> Any:
    """An optional field that is left out of the JSON where it is None."""
    return Field(default=None, exclude_if=IS_NONE, **constraints)


class _Value(BaseModel):
    """An immutable value that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Slot(_Value):
    """A role of a frame, such as the Speaker of a Speech.

    Args:
        name: shown to the model and written in the results.
        description: what counts as a filler, in a sentence; shown to the model.
        required: an absent filler is written as `Null` instead of leaving the slot out.
    """

    name: Name
    description: Description | None = _if_given()
    required: bool = Field(default=False, exclude_if=not_)


class Frame(_Value):
    """A type of information unit: an entity type, relation, event or sentiment, with its slots."""

    name: Name
    description: Description | None = _if_given()
    slots: tuple[Slot, ...] = ()

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The names of the slots, in schema order."""
        return tuple(slot.name for slot in self.slots)

    @model_validator(mode="after")
    def _slots_are_unique(self) -> Self:
        _refuse_repetition(self.slot_names, "slot", f"frame {show(self.name)}")
        return self


class Schema(_Value):
    """The types to extract: frames in the order that the output follows. `Schema.of` reads every form."""

    frames: tuple[Frame, ...]

    @classmethod
    def of(cls, source: Any) -> "Schema":
        """A schema from a Schema, dict, list, pydantic class, JSON (Schema), YAML/JSON path or ready name.

        Raises:
            SchemaError: the source cannot be read or contradicts itself; all faults at once, each with its
                line where the source is YAML.
        """
        if isinstance(source, Schema):
            return source
        return cls._of_read(read_schema_source(source))

    @classmethod
    def from_yaml(cls, text: str) -> "Schema":
        """The schema that the content of a YAML file describes; raises as `of`."""
        return cls._of_read(read_schema_yaml(text))

    @classmethod
    def _of_read(cls, read: SchemaSource) -> "Schema":
        try:
            return cls.model_validate(read.plain)
        except ValidationError as error:
            raise SchemaError(read.explain(error)) from None

    @property
    def frame_names(self) -> tuple[str, ...]:
        """The names of the frames, in schema order."""
        return tuple(frame.name for frame in self.frames)

    def __contains__(self, name: object) -> bool:
        return name in self.frame_names

    def __getitem__(self, name: str) -> Frame:
        """The frame of that name.

        Raises:
            KeyError: the schema has no such frame; the message names the nearest.
        """
        for frame in self.frames:
            if frame.name == name:
                return frame
        raise KeyError(f"no frame {show(name)} in the schema{did_you_mean(name, self.frame_names)}")

    @property
    def task(self) -> Task:
        """The task whose instructions fit this schema best, judged by its shape alone."""
        if not any(frame.slots for frame in self.frames):
            return "NER"
        if all({name.casefold() for name in frame.slot_names} == _OPINION_SLOTS for frame in self.frames):
            return "ABSA"
        if all(len(frame.slots) == 2 for frame in self.frames):
            return "RE"
        return "EE"

    # Not a minimum length of the field: pydantic counts only valid frames, so that one faulty frame would
    # be reported as none.
    @model_validator(mode="after")
    def _has_unique_frames(self) -> Self:
        if not self.frames:
            raise ValueError("the schema has no frames")
        _refuse_repetition(self.frame_names, "frame", "the schema")
        return self


class Filler(_Value):
    """A piece of the text that fills a frame or a slot: `source[start:end] == text`."""

    text: str = Field(min_length=1)
    start: int = Field(ge=0)
    end: int
    score: float | None = _if_given(ge=0, le=1)

    @property
    def span(self) -> Span:
        """(start, end), the key that scorers compare."""
        return self.start, self.end

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"span {self.start}:{self.end} is empty or reversed")
        return self


class FilledSlot(_Value):
    """A slot of a record; `filler` is None where the slot exists without text."""

    slot: str
    filler: Filler | None = None


class ExpertUse(_Value):
    """How an adapted linear of the model divided the work on some tokens; means over these.

    Args:
        gates: how far each capability was open, from 0 to 1; empty where the adapter has no such gates.
        experts: the weights of each capability's sub-experts; they sum to 1.
    """

    gates: dict[str, float]
    experts: dict[str, tuple[float, ...]]


class Explanation(ExpertUse):
    """The experts that wrote a record: means over its tokens in the output and over all adapted linears.

    Args:
        num_tokens: in the output, from the bracket before the frame's name to the one after its last filler.
        linears: the same for each adapted linear, by its name; only where that was asked for.
    """

    num_tokens: int
    linears: dict[str, ExpertUse] | None = _if_given()


class Record(_Value):
    """One filled frame; `filler` is None where no text evokes the frame (relations, opinions)."""

    frame: str
    filler: Filler | None = None
    slots: tuple[FilledSlot, ...] = ()
    score: float | None = _if_given(ge=0, le=1)
    explanation: Explanation | None = _if_given()

    def fillers(self) -> Iterator[Filler]:
        """All fillers of the record: the frame's own, then those of its slots."""
        if self.filler is not None:
            yield self.filler
        for filled in self.slots:
            if filled.filler is not None:
                yield filled.filler


class Dropped(_Value):
    """Something the model wrote that is not in the records, and why."""

    reason: str
    value: str


@pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class Example:
    """A text with its gold records: one line of the unified data format.

    A dataclass because pydantic's BaseModel owns the attribute name `schema`.

    Raises:
        pydantic.ValidationError: a span does not match the text or a name is not in the schema; the
            message lists every fault of the example.
    """

    id: str
    dataset: str = ""
    task: Task | Capability
    split: Split = "train"
    text: str
    schema: Schema
    records: tuple[Record, ...] = ()
    elements: tuple[Record, ...] | None = _if_given()
    """Located spans given as input; only examples of the associating capability have them."""

    @model_validator(mode="after")
    def _is_grounded(self) -> Self:
        faults = record_faults(self.records, self.text, self.schema)
        # The names of elements are those of frames and slots alike, so only their spans can be wrong.
        for element in self.elements or ():
            faults += span_faults(element, self.text)
        if not _is_encodable(self.text):
            faults.insert(0, "the text holds a lone surrogate, which no tokenizer can read")
        if not self.text.strip():
            faults.insert(0, "the text is empty")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def to_json(self) -> str:
        """The example as one JSON line, without the fields that say nothing."""
        return _EXAMPLE.dump_json(self).decode()

    @classmethod
    def from_json(cls, line: str | bytes) -> "Example":
        """The example in one JSON line; a pydantic.ValidationError says why it is none."""
        return _EXAMPLE.validate_json(line)


_EXAMPLE = TypeAdapter(Example)


def record_faults(records: Sequence[Record], text: str, schema: Schema) -> list[str]:
    """Every way in which records contradict their text or schema, one sentence each."""
    return [
        fault for record in records for fault in (*span_faults(record, text), *_name_faults(record, schema))
    ]


def span_faults(record: Record, text: str) -> list[str]:
    """Every filler of a record that is not what stands at its place, one sentence each."""
    return [
        f"span {filler.start}:{filler.end} says {show(filler.text)}, the text there is {show(actual)}"
        for filler in record.fillers()
        # A slice ends with the text, so that an end behind it has to be looked for.
        if (actual := text[filler.start : filler.end]) != filler.text or filler.end > len(text)
    ]


def _name_faults(record: Record, schema: Schema) -> list[str]:
    if record.frame not in schema:
        hint = did_you_mean(record.frame, schema.frame_names)
        return [f"frame {show(record.frame)} is not in the schema{hint}"]
    slot_names = schema[record.frame].slot_names
    return [
        f"slot {show(slot)} is not in frame {show(record.frame)}{did_you_mean(slot, slot_names)}"
        for slot in (filled.slot for filled in record.slots)
        if slot not in slot_names
    ]


def _refuse_repetition(names: Sequence[str], kind: str, owner: str) -> None:
    """Raises for the first name that stood earlier already, with its place in the frame or schema."""
    seen = set()
    for index, name in enumerate(names):
        if name in seen:
            # The message goes in as a value: pydantic would read braces of a name as placeholders.
            context = {"fault": f"{owner} lists {kind} {show(name)} twice", "within": (f"{kind}s", index)}
            raise PydanticCustomError("repetition", "{fault}; each name may stand there once", context)
        seen.add(name)


def check_encodable(text: str, what: str) -> None:
    """Raises where a tokenizer would.

    Raises:
        TextError: a text, called `what` in the message, holds a lone surrogate.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        value = show(text[max(error.start - 10, 0) : error.end + 10])
        raise TextError(f"{what} holds a lone surrogate, which no tokenizer reads: {value}") from None
