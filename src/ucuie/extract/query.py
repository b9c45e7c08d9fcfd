"""What is asked of an extractor: a `Query` for each text, the same for a model here and one elsewhere.

What both do alike with queries is here too: how they are made of the arguments of a method, and checked.
Options are what may be asked beside text and schema: least scores, raw ones, reasons, alternatives.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal, NoReturn, Protocol, TypedDict, TypeVar, Unpack

from ucuie.errors import MAX_LISTED_FAULTS, ConfigError, SchemaError, TextError, UserError, did_you_mean, show
from ucuie.extract.result import Extraction
from ucuie.extract.thresholds import Thresholds, ThresholdSource
from ucuie.language.encode import check_encodable
from ucuie.model.operating_point import OperatingPoint
from ucuie.schema import CAPABILITIES, TASKS, Capability, Example, Record, Schema, Task
from ucuie.schema.capabilities import element_faults, located_schema

Explain = bool | Literal["linears"]
"""Whether records carry an explanation, and with "linears" one for each adapted linear as well."""


_NO_ELEMENTS = (
    'there are no "elements"; the task associating links spans that are given, such as the records of the '
    "task locating"
)
_Count = TypeVar("_Count", int, int | None)


def positive(name: str, value: _Count) -> _Count:
    """A number of something, as it is.

    Raises:
        ConfigError: there is less than one of it.
    """
    if value is not None and value < 1:
        raise ConfigError(f"{name} is {value:,}; it has to be at least 1")
    return value


class OptionArguments(TypedDict, total=False):
    """The options as the methods of `Extractor` take them; see `AnswerOptions`."""

    threshold: ThresholdSource
    end_bias: float
    raw_scores: bool
    explain: Explain
    n_best: int


@dataclass(frozen=True)
class AnswerOptions:
    """How one text is to be answered.

    Args:
        threshold: the least scores that are kept; types without one go by the model's own, and 0
            keeps everything.
        end_bias: added to the model's own. Above 0 the model goes on for longer, for more recall; below 0 it
            ends sooner, for more precision. In logits: 2 makes "another record" e^2 = 7.4 times as likely
            against "the end".
        raw_scores: scores are the model's own probabilities, even where the model has a calibration;
            its own threshold, which counts calibrated scores, is left aside.
        explain: every record says how the adapter routed its tokens.
        n_best: the most answers to a text, the one that is given and its alternatives together. Above 1 so
            many beams look for the likeliest output, which may be another one than the greedy search of 1
            finds, and time grows with them. A text that is read in several windows has no alternatives,
            since each window has an answer of its own: it is answered as with 1, and `dropped` says so.
    """

    threshold: Thresholds = field(default_factory=Thresholds)
    end_bias: float = 0.0
    raw_scores: bool = False
    explain: Explain = False
    n_best: int = 1

    @classmethod
    def of(cls, **arguments: Unpack[OptionArguments]) -> "AnswerOptions":
        """The options of some arguments.

        Raises:
            ConfigError: a threshold is no number from 0 to 1, the bias is not finite, `explain` unknown, or
                `n_best` not positive.
        """
        explain = arguments.get("explain", False)
        if explain not in (True, False, "linears"):
            raise ConfigError(f"explain is {show(explain)}; it has to be True, False or 'linears'")
        end_bias = arguments.get("end_bias", 0.0)
        if not isinstance(end_bias, int | float) or not math.isfinite(end_bias):
            raise ConfigError(f"end_bias is {show(end_bias)}; it has to be a finite number, 0 for none")
        n_best = arguments.get("n_best", 1)
        if not isinstance(n_best, int) or isinstance(n_best, bool) or n_best < 1:
            raise ConfigError(
                f"n_best is {show(n_best)}; it has to be a whole number of answers, 1 for no alternatives"
            )
        return cls(
            threshold=Thresholds.of(arguments.get("threshold")),
            end_bias=float(end_bias),
            raw_scores=arguments.get("raw_scores", False),
            explain=explain,
            n_best=n_best,
        )

    def at(self, point: OperatingPoint) -> "AnswerOptions":
        """The options for a model that stands at this point.

        Its threshold counts calibrated scores: where raw ones are asked for, nothing goes by it.
        """
        return replace(
            self,
            threshold=self.threshold if self.raw_scores else self.threshold.or_else(point.threshold),
            end_bias=self.end_bias + point.end_bias,
        )


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

    def at(self, point: OperatingPoint) -> "Query":
        """The query for a model that stands at this point.

        Its threshold counts scores of whole answers: parts of one, such as judging, do not go by it.
        """
        if self.task in CAPABILITIES:
            point = replace(point, threshold=0.0)
        return replace(self, options=self.options.at(point))

    def check(self) -> None:
        """Refuse what no extractor can answer.

        Raises:
            TextError: the text is blank or not encodable, or the id is not.
            ConfigError: a threshold is for a type that the schema does not have.
        """
        if not self.text.strip():
            raise TextError(f"the text {show(self.text)} is empty; there is nothing to extract from")
        check_encodable(self.text, "the text")
        check_encodable(self.id, "the id of the text")
        self.options.threshold.check(self.schema)

    def element_faults(self) -> Iterator[tuple[int | None, str]]:
        """What is wrong with the elements, with the position of each; without one, that there are none."""
        if self.elements is not None:
            yield from element_faults(self.elements, self.text, self.schema)
        elif self.task == "associating":
            yield None, _NO_ELEMENTS

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


def query_of(
    text: str,
    schema: Any,
    task: Task | Capability | None,
    options: OptionArguments,
    *,
    id: str,  # noqa: A002  the query's own word
    elements: Iterable[Record] | None = None,
) -> Query:
    """The query for one text; raises as `queries_of`."""
    schema = Schema.of(schema)
    given = None if elements is None else tuple(elements)
    return Query(id, text, schema, task_named(task, schema), given, AnswerOptions.of(**options))


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


def answer_all(extractor: AnswersQueries, queries: Sequence[Query]) -> list[Extraction]:
    """The extraction of each query, if all of them can be answered.

    Raises:
        UserError: the fault itself where there is one query, or the schema is at fault; else a TextError with
            the faults of all texts, before any work.
    """
    if faults := extractor.faults(queries):
        _raise_faults(faults, len(queries))
    return list(extractor.answer(queries))


def answer_each(extractor: AnswersQueries, queries: Sequence[Query]) -> list[Extraction | Exception]:
    """The extraction of each query, or why there is none; what makes the extractor fail costs no other."""
    try:
        faults = extractor.faults(queries)
        answers = extractor.answer(query for index, query in enumerate(queries) if index not in faults)
        return [faults[index] if index in faults else next(answers) for index in range(len(queries))]
    except Exception as error:  # of any class: a text may be the one that no memory is enough for
        if len(queries) == 1:
            return [error]
    return [answer_each(extractor, [query])[0] for query in queries]


def _raise_faults(faults: Mapping[int, UserError], num_texts: int) -> NoReturn:
    first = next(iter(faults.values()))
    if num_texts == 1 or isinstance(first, SchemaError):
        raise first
    lines = [f"{len(faults):,} of {num_texts:,} texts cannot be used"]
    lines += [f"  text {index + 1}   {fault}" for index, fault in islice(faults.items(), MAX_LISTED_FAULTS)]
    if len(faults) > MAX_LISTED_FAULTS:
        lines.append(f"  ... and {len(faults) - MAX_LISTED_FAULTS:,} more")
    raise TextError("\n".join(lines))
