r"""The instruction I of a prompt, and the pool of wordings that it is made from.

The pool has the wordings for every task and capability, each one line with the placeholder `{schema}`; the
packaged `pool.yaml` explains the form. An instruction is a wording with the schema in it, then what the types
mean:

    Find all events of these types with their trigger and arguments: {Speech: [Speaker, Place], Attack: []}
    Speech: someone addresses an audience
    Speech.Speaker: the person who talks
    Text:

Frames without slots are plain names as long as no frame of the schema has slots: `{person, city}`. Where
a schema can be read two ways, names are escaped with `\`; a name is shown otherwise as it stands.
"""

import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from ucuie.errors import ConfigError, DataError, did_you_mean, show
from ucuie.files import write_text
from ucuie.language.linearize import escape_name
from ucuie.schema import CAPABILITIES, TASKS, Capability, Frame, Schema, Task

InstructionTask = Task | Capability
INSTRUCTION_TASKS: tuple[InstructionTask, ...] = (*TASKS, *CAPABILITIES)

PLACEHOLDER = "{schema}"
PACKAGED_POOL = Path(__file__).with_name("pool.yaml")

_HINT = f"a pool has a list of wordings for each of {', '.join(INSTRUCTION_TASKS)}; see {PACKAGED_POOL}"


def wording_faults(text: str) -> list[str]:
    """The reasons why a text cannot serve as a wording; empty if it can."""
    faults = []
    if text.count(PLACEHOLDER) != 1:
        faults.append(f"{PLACEHOLDER} stands in it {text.count(PLACEHOLDER)} times, not once")
    rest = text.replace(PLACEHOLDER, "")
    if "{" in rest or "}" in rest:
        faults.append(f"it has braces other than those of {PLACEHOLDER}")
    if not any(map(str.isalpha, rest)):
        faults.append(f"it says nothing beside {PLACEHOLDER}")
    if text.strip() != text or len(text.splitlines()) > 1:
        faults.append("it is more than one line or has blanks around it")
    if any("\ud800" <= character <= "\udfff" for character in text):
        faults.append("it holds a lone surrogate")
    return faults


def _usable(text: str) -> str:
    faults = wording_faults(text)
    if faults:
        raise ValueError(f"{show(text)} is not a wording: {'; '.join(faults)}")
    return text


def _known_task(task: Any) -> Any:
    if task not in INSTRUCTION_TASKS:
        raise ValueError(f"{show(task)} is not a task{did_you_mean(str(task), INSTRUCTION_TASKS)}")
    return task


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ParaphraseOrigin(_Value):
    """The origin of a paraphrase: the model that wrote it, the wording it paraphrases, the day."""

    model: str
    base: str
    date: date


class Wording(_Value):
    """One way to ask for a task, and whether a person or a model wrote it."""

    text: Annotated[str, AfterValidator(_usable)]
    origin: Literal["written"] | ParaphraseOrigin = "written"

    @model_validator(mode="before")
    @classmethod
    def _plain_text_was_written(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value


class InstructionPool(_Value):
    """The wordings of every task and capability; the first of each list is its default.

    Raises:
        pydantic.ValidationError: a task is unknown or has no wordings, a wording is unusable or repeated.
    """

    entries: Mapping[
        Annotated[InstructionTask, BeforeValidator(_known_task)],
        Annotated[tuple[Wording, ...], Field(min_length=1)],
    ]

    @classmethod
    def load(cls, path: Path | None = None) -> "InstructionPool":
        """The pool in a YAML file; the one that comes with the package if no path is given.

        Raises:
            DataError: the file cannot be read or is no pool; every fault with its place.
        """
        path = PACKAGED_POOL if path is None else Path(path)
        try:
            content = yaml.safe_load(path.read_bytes())
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise DataError(str(path), [str(error)], _HINT) from None
        if not isinstance(content, dict):
            raise DataError(str(path), [f"the file holds {show(content)}, not lists of wordings"], _HINT)
        try:
            return cls(entries=content)
        except ValidationError as error:
            raise DataError(str(path), [_explain(fault) for fault in error.errors()], _HINT) from None

    def save(self, path: Path) -> None:
        """Writes the pool as YAML; a reader sees the old file or the new one, never half of it."""
        content = {
            task: [
                wording.text if wording.origin == "written" else wording.model_dump() for wording in wordings
            ]
            for task, wordings in self.entries.items()
        }
        write_text(path, yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=10_000))

    def wordings(self, task: InstructionTask) -> tuple[str, ...]:
        """All wordings of a task or capability, the default first.

        Raises:
            ConfigError: there is no such task; so do `default` and `sample`.
        """
        if task not in self.entries:
            raise ConfigError(f"no instructions for the task {show(task)}{did_you_mean(task, self.entries)}")
        return tuple(wording.text for wording in self.entries[task])

    def default(self, task: InstructionTask) -> str:
        """The wording used at inference."""
        return self.wordings(task)[0]

    def sample(self, task: InstructionTask, generator: random.Random) -> str:
        """A wording drawn evenly from those of the task."""
        return generator.choice(self.wordings(task))

    @property
    def hash(self) -> str:
        """SHA-256 of all wordings in order, in hex; their origin and the file's layout do not count."""
        content = {task: self.wordings(task) for task in INSTRUCTION_TASKS}
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        faults = [
            f"there are no wordings for {task}" for task in INSTRUCTION_TASKS if task not in self.entries
        ]
        for task in self.entries:
            texts = self.wordings(task)
            faults += [
                f"{task} lists the wording {show(text)} twice"
                for index, text in enumerate(texts)
                if text in texts[:index]
            ]
        if faults:
            raise ValueError("; ".join(faults))
        return self


def _explain(fault: Any) -> str:
    """A fault that pydantic found, with its place in the file: `NER, wording 3: ...`."""
    message: str = fault["msg"].removeprefix("Value error, ")
    location = fault["loc"][1:]
    if not location or location[-1] == "[key]":
        return message
    task, *inner = location
    place = f"{task}, wording {inner[0] + 1}" if inner and isinstance(inner[0], int) else str(task)
    return f"{place}: {message}"


_LIST_SPECIAL = re.compile(r"[,\[\]{}]")


def build_instruction(wording: str, schema: Schema) -> str:
    """The instruction I; the text follows it directly.

    Raises:
        ConfigError: the wording is not one line with one `{schema}`.
    """
    if faults := wording_faults(wording):
        raise ConfigError(f"{show(wording)} is not a wording: {'; '.join(faults)}")
    request = wording.replace(PLACEHOLDER, _schema_text(schema))
    return "\n".join([request, *_description_lines(schema), "Text:"])


def _schema_text(schema: Schema) -> str:
    has_slots = any(frame.slots for frame in schema.frames)
    frames = (_frame_text(frame) if has_slots else _listed(frame.name) for frame in schema.frames)
    return "{" + ", ".join(frames) + "}"


def _frame_text(frame: Frame) -> str:
    return f"{_listed(frame.name)}: [{', '.join(map(_listed, frame.slot_names))}]"


def _description_lines(schema: Schema) -> Iterator[str]:
    for frame in schema.frames:
        # The first unescaped dot of a line divides frame and slot.
        frame_name = _listed(frame.name).replace(".", r"\.")
        described = [(frame_name, frame.description)]
        described += [(f"{frame_name}.{_listed(slot.name)}", slot.description) for slot in frame.slots]
        for name, description in described:
            # One line each, whatever line breaks a description was written with.
            words = (description or "").split()
            if words:
                yield f"{name}: {' '.join(words)}"


def _listed(name: str) -> str:
    """A name as the schema shows it: escaped as in the output, then for the list and the line it is in."""
    return _LIST_SPECIAL.sub(r"\\\g<0>", escape_name(name)).replace("\n", r"\n")
