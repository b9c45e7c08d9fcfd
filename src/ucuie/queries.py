"""What is asked of an extractor: a `Query` for each text, the same for a model here and one elsewhere."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from ucuie.capabilities import located_schema
from ucuie.errors import MAX_LISTED_FAULTS, ConfigError, SchemaError, TextError, UserError, did_you_mean, show
from ucuie.extraction import Extraction
from ucuie.options import AnswerOptions, OptionArguments
from ucuie.schema import CAPABILITIES, TASKS, Capability, Example, Record, Schema, Task


@dataclass(frozen=True)
class Query:
    """One text to extract from.

    Args:
        id: of the text, for the extraction.
        text: not blank.
        schema: what to look for.
        task: whose wording asks for it.
        elements: the located spans, for the task "associating".
        options: how it is to be answered.
    """

    id: str
    text: str
    schema: Schema
    task: Task | Capability
    elements: tuple[Record, ...] | None = None
    options: AnswerOptions = field(default_factory=AnswerOptions)

    @property
    def asked(self) -> Schema:
        """The schema as its task asks for it: locating knows no slots, only what can stand in a text."""
        return located_schema(self.schema) if self.task == "locating" else self.schema

    @classmethod
    def of_example(cls, example: Example, options: AnswerOptions | None = None) -> "Query":
        """The question that an example is the answer to."""
        return cls(
            example.id,
            example.text,
            example.schema,
            example.task,
            example.elements,
            options or AnswerOptions(),
        )


class AnswersQueries(Protocol):
    """What answers queries: an `Extractor`, or a `RemoteExtractor`."""

    @property
    def identity(self) -> str:
        """The model and all options that change what it answers."""

    def faults(self, queries: Iterable[Query]) -> dict[int, UserError]:
        """Why queries cannot be answered, by their position."""

    def answer(self, queries: Iterable[Query]) -> Iterator[Extraction]:
        """The extraction of each query, in their order."""


def queries_of(
    texts: Iterable[str], schema: Any, task: Task | Capability | None, options: OptionArguments
) -> Iterator[Query]:
    """A query for each text; what they share is checked at once, the texts come when they are taken.

    Raises:
        SchemaError: the schema cannot be read.
        ConfigError: there is no such task, or an option is impossible.
    """
    schema = Schema.of(schema)
    task = task_named(task, schema)
    shared = AnswerOptions.of(**options)
    return (
        Query(str(number), text, schema, task, None, shared) for number, text in enumerate(texts, start=1)
    )


def task_named(task: str | None, schema: Schema) -> Task | Capability:
    """The task of that name; without one the task that the schema has the shape of.

    Raises:
        ConfigError: there is no such task; the message names the nearest.
    """
    if task is None:
        return schema.task
    for known in (*TASKS, *CAPABILITIES):
        if task == known:
            return known
    raise ConfigError(f"no task {show(task)}{did_you_mean(task, (*TASKS, *CAPABILITIES))}")


def raise_faults(faults: Mapping[int, UserError], num_texts: int) -> None:
    """Raise what is wrong with some of so many texts, all of it at once; nothing if there is nothing.

    Args:
        faults: by the position of the text.
        num_texts: the usable ones included.

    Raises:
        UserError: the fault itself where there is one text, or the schema is at fault; else a TextError.
    """
    if not faults:
        return
    first = next(iter(faults.values()))
    if num_texts == 1 or isinstance(first, SchemaError):
        raise first
    lines = [f"{len(faults):,} of {num_texts:,} texts cannot be used"]
    lines += [f"  text {index + 1}   {fault}" for index, fault in islice(faults.items(), MAX_LISTED_FAULTS)]
    if len(faults) > MAX_LISTED_FAULTS:
        lines.append(f"  ... and {len(faults) - MAX_LISTED_FAULTS:,} more")
    raise TextError("\n".join(lines))
