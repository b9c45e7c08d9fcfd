"""What is asked of an extractor, a `Query` for each text, and the ways to ask: the same here and elsewhere.

Answers come in the order of the queries, and an interrupted run goes on from what it had staged.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, Unpack

from ucuie.errors import ConfigError, SchemaError, TextError, UserError, contained, did_you_mean, listed, show
from ucuie.extract.options import AnswerOptions, OptionArguments
from ucuie.extract.result import Extraction
from ucuie.files import StagedLines
from ucuie.model.operating_point import OperatingPoint
from ucuie.schema import CAPABILITIES, TASKS, Capability, Example, Record, Schema, Task
from ucuie.schema.capabilities import element_faults, located_schema
from ucuie.schema.model import check_encodable

Progress = Callable[[Iterator[Extraction], int], Iterator[Extraction]]
"""Passes extractions on and shows how many of a total there were."""

_Item = TypeVar("_Item")
_NO_ELEMENTS = (
    'there are no "elements"; the task associating links spans that are given, such as the records of the '
    "task locating"
)


@dataclass(frozen=True)
class Query:
    """One text to extract from.

    Args:
        id: what the extraction is called.
        text: not blank.
        schema: what to look for.
        task: whose wording asks for it.
        elements: the located spans, for the task "associating".
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

    def at(self, point: OperatingPoint) -> "Query":
        """The query for a model that stands at this point."""
        return replace(self, options=self.options.at(point, self.task))

    def check(self) -> None:
        """Refuse what no extractor can answer.

        Raises:
            TextError: the text is no string, blank or not encodable, or the id is.
            ConfigError: a threshold is for a type that the schema does not have.
        """
        for value, what in ((self.text, "the text"), (self.id, "the id of the text")):
            if not isinstance(value, str):
                raise TextError(f"{what} is {show(value)}, which is no string")
        if not self.text.strip():
            raise TextError(f"the text {show(self.text)} is empty; there is nothing to extract from")
        check_encodable(self.text, "the text")
        check_encodable(self.id, "the id of the text")
        self.options.threshold.check(self.schema)

    def element_faults(self) -> Iterator[tuple[int | None, str]]:
        """The faults of the elements, with the position of each; without one, that there are none."""
        if self.elements is not None:
            yield from element_faults(self.elements, self.text, self.schema)
        elif self.task == "associating":
            yield None, _NO_ELEMENTS

    @classmethod
    def of_example(cls, example: Example, options: AnswerOptions | None = None) -> "Query":
        """The question that an example is the answer to."""
        options = options or AnswerOptions()
        return cls(example.id, example.text, example.schema, example.task, example.elements, options)


class AnswersQueries(ABC):
    """An extractor, here or behind an endpoint, and the ways to ask it."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """The model and all options that change what it answers, as one string."""

    @abstractmethod
    def check(self, query: Query) -> None:
        """Refuse what cannot be answered.

        Raises:
            TextError: the text or its elements are unusable.
            SchemaError: the schema is too large for the model's context.
            ConfigError: the task or an option is none that the model has.
        """

    @abstractmethod
    def answer(self, queries: Iterable[Query]) -> Iterator[Extraction]:
        """The extraction of each query, in their order."""

    def faults(self, queries: Iterable[Query]) -> dict[int, UserError]:
        """Why queries cannot be answered, by their position; empty if all can.

        A `TextError` is the text's, a `SchemaError` that of a schema too large for the model's context.

        Raises:
            ConfigError: the task or an option is none that the model has.
        """
        faults: dict[int, UserError] = {}
        for index, query in enumerate(queries):
            try:
                self.check(query)
            except (TextError, SchemaError) as error:
                faults[index] = error
        return faults

    def extract(
        self,
        text: str,
        schema: Any,
        *,
        id: str = "1",  # noqa: A002  the extraction's own word
        task: Task | Capability | None = None,
        elements: Sequence[Record] | None = None,
        **options: Unpack[OptionArguments],
    ) -> Extraction:
        """The records of one text.

        Args:
            text: not blank, of any length.
            schema: a `Schema`, or whatever `Schema.of` reads: a list of names, a mapping from frames to
                slots, a pydantic class, JSON, or the path of a YAML or JSON file.
            id: what the extraction is called.
            task: whose wording asks for it; None takes the task that the schema has the shape of.
            elements: the spans that the task "associating" links, such as the records of "locating".
            **options: see `AnswerOptions`.

        Raises:
            SchemaError: the schema cannot be read, or is too large for the model's context.
            ConfigError: there is no such task, an option is impossible, or the model cannot do it.
            TextError: the text is no string, blank or not encodable, or the elements cannot be used.
        """
        (query,) = _queries_of([text], schema, task, options)
        given = None if elements is None else tuple(elements)
        (extraction,) = self._answer_all([replace(query, id=id, elements=given)])
        return extraction

    def extract_batch(
        self,
        texts: Sequence[str],
        schema: Any,
        *,
        task: Task | Capability | None = None,
        **options: Unpack[OptionArguments],
    ) -> list[Extraction]:
        """The records of several texts, in their order; ids are positions from 1.

        Raises the errors of `extract`, a TextError of all unusable texts at once, before any work.
        """
        return self._answer_all(list(_queries_of(texts, schema, task, options)))

    def extract_iter(
        self,
        texts: Iterable[str],
        schema: Any,
        *,
        task: Task | Capability | None = None,
        **options: Unpack[OptionArguments],
    ) -> Iterator[Extraction]:
        """The records of a stream of texts, in their order, while they come in; ids are positions from 1.

        Raises the errors of `extract`, a TextError where the unusable text stands in the stream.
        """
        return self.answer(_queries_of(texts, schema, task, options))

    def _answer_all(self, queries: Sequence[Query]) -> list[Extraction]:
        """The extraction of each query, if all of them can be answered; else why not, before any work."""
        if not (faults := self.faults(queries)):
            return list(self.answer(queries))
        first = next(iter(faults.values()))
        if len(queries) == 1 or isinstance(first, SchemaError):
            raise first
        lines = [f"  text {index + 1}   {fault}" for index, fault in faults.items()]
        raise TextError(
            "\n".join([f"{len(lines):,} of {len(queries):,} texts cannot be used", *listed(lines)])
        )


def _queries_of(
    texts: Iterable[str], schema: Any, task: Task | Capability | None, options: OptionArguments
) -> Iterator[Query]:
    """A query for each text; what they share is checked at once, the texts come when they are taken.

    Raises:
        TextError: they are one string, or a mapping or table, whose items are no texts.
        SchemaError: the schema cannot be read.
        ConfigError: there is no such task, or an option is impossible.
    """
    if isinstance(texts, str | bytes | Mapping) or getattr(texts, "ndim", 1) != 1:
        raise TextError(f"{show(texts)} stands where a list of texts should be")
    schema = Schema.of(schema)
    task, shared = task_named(task, schema), AnswerOptions.of(**options)
    return (Query(str(number), text, schema, task, None, shared) for number, text in enumerate(texts, 1))


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


def answer_each(extractor: AnswersQueries, queries: Sequence[Query]) -> list[Extraction | Exception]:
    """The extraction of each query, or why there is none; what makes the extractor fail costs no other."""
    try:
        faults = extractor.faults(queries)
        answers = extractor.answer(query for index, query in enumerate(queries) if index not in faults)
        return [faults[index] if index in faults else next(answers) for index in range(len(queries))]
    except BaseException as error:  # of any class: a text may be the one that no memory is enough for
        failure = contained(error)
        if len(queries) == 1:
            return [failure]
    return [answer_each(extractor, [query])[0] for query in queries]


def answer_staged(
    extractor: AnswersQueries, queries: Sequence[Query], staged: StagedLines
) -> Iterator[Extraction]:
    """The extraction of each query, from an earlier run as far as that came; staged before it is yielded."""
    num_done = 0
    for line in staged.read():
        yield Extraction.model_validate_json(line)
        num_done += 1
    for extraction in extractor.answer(queries[num_done:]):
        staged.append(extraction.to_json())
        yield extraction


def resume_key(extractor: AnswersQueries, queries: Iterable[Query]) -> str:
    """Equal for the same model asked the same things, in hex."""
    digest = hashlib.sha256(extractor.identity.encode())
    for query in queries:
        digest.update(repr((query.id, query.text, query.task, query.elements, query.options)).encode())
        digest.update(repr(query.schema).encode())
    return digest.hexdigest()


def until_fault(items: Iterable[_Item], faults: list[BaseException]) -> Iterator[_Item]:
    """The items before the first that cannot be had; why it cannot goes to the faults."""
    try:
        yield from items
    except UserError as error:
        faults.append(error)
