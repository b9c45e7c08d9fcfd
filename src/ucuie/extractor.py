"""The public face: a model, a schema and texts in, extractions out.

    extractor = Extractor.from_pretrained()
    extractor.extract("Ada Lovelace lived in London.", ["person", "city"]).records

Everything goes one way, a `Query` at a time: prompt (`encode`), grammar and generation (`decode`), reading
(`linearize`), offsets (`align`), confidence (`decode`), `Extraction`.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Unpack

from ucuie.align import Alignment, align
from ucuie.capabilities import capability_labels, located_schema
from ucuie.decode.confidence import score_records
from ucuie.decode.explanation import explain_frames, has_experts
from ucuie.decode.generate import Generator
from ucuie.decode.grammar import GrammarFactory, build_grammar
from ucuie.decode.requests import Output, Request
from ucuie.encode import PromptEncoder
from ucuie.errors import MAX_LISTED_FAULTS, ConfigError, TextError, did_you_mean, show
from ucuie.extraction import Extraction
from ucuie.linearize import order_records, parse
from ucuie.model_folder import EMBEDDED, LoadedModel, load_model
from ucuie.options import AnswerOptions, OptionArguments
from ucuie.schema import (
    CAPABILITIES,
    TASKS,
    Capability,
    Dropped,
    Example,
    Record,
    Schema,
    Task,
    span_faults,
)

BATCH_SIZE = 32
MAX_NEW_TOKENS = 512
_BATCHES_IN_FLIGHT = 4
"""Texts of so many batches are sorted by length together, for little padding."""


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


class Extractor:
    """Extracts records from texts with one model.

    Args:
        loaded: a model; several extractors may share one, but not in threads at the same time.
        capabilities: which of the adapter's capability experts take part; None means all. The shared expert
            always does.
        batch_size: texts per forward pass.
        max_new_tokens: where an output is cut; the extraction is then marked as truncated.

    Raises:
        ConfigError: a capability is unknown, or the model has no capability experts to choose from.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        capabilities: Collection[Capability] | None = None,
        batch_size: int = BATCH_SIZE,
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> None:
        self.model_name = loaded.name
        """What the extractions call the model."""
        self._info = loaded.info
        self._model = loaded.model
        self._calibration = loaded.calibration
        self._capabilities = None if capabilities is None else tuple(capabilities)
        self._check_capabilities()
        self._encoder = PromptEncoder(loaded.tokenizer, pool=loaded.pool)
        self._grammars = GrammarFactory(loaded.tokenizer, loaded.model.config.vocab_size)
        self._generator = Generator(
            loaded.model, self._grammars, batch_size=batch_size, max_new_tokens=max_new_tokens
        )

    @classmethod
    def from_pretrained(
        cls, model: str | Path | None = None, *, device: str | None = None, **options: Any
    ) -> "Extractor":
        """An extractor with a model from disk or from a hub.

        Args:
            model: a model folder or a hub id; None takes the model that comes with the package.
            device: such as "cpu" or "cuda:1"; None takes a GPU if there is one.
            **options: of the class.

        Raises:
            ModelError: there is no such model, or it is damaged; says what to do.
            ConfigError: an option is impossible.
        """
        return cls(load_model(EMBEDDED if model is None else model, device=device), **options)

    @property
    def identity(self) -> str:
        """The model and all options that change what it answers, as one string."""
        info = None if self._info is None else self._info.model_dump_json()
        return repr((self.model_name, info, self._capabilities, self._generator.max_new_tokens))

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
            text: not blank, and short enough for the model's context.
            schema: a `Schema`, or whatever `Schema.of` reads: a list of names, a mapping from frames to
                slots, a pydantic class, JSON, or the path of a YAML or JSON file.
            id: of the extraction.
            task: whose wording asks for it; None takes the task that the schema has the shape of.
            elements: the spans that the task "associating" links, such as the records of "locating".
            **options: see `AnswerOptions`.

        Raises:
            SchemaError: the schema cannot be read.
            ConfigError: there is no such task, an option is impossible, or the model cannot do it.
            TextError: the text is blank, not encodable or too long; texts are never cut.
        """
        schema = Schema.of(schema)
        given = None if elements is None else tuple(elements)
        query = Query(id, text, schema, task_named(task, schema), given, AnswerOptions.of(**options))
        (extraction,) = self._answer_all([query])
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

        Raises:
            SchemaError: the schema cannot be read.
            ConfigError: there is no such task, an option is impossible, or the model cannot do it.
            TextError: texts are blank, not encodable or too long; all of them at once, before any work.
        """
        return self._answer_all(list(_queries(texts, schema, task, options)))

    def extract_iter(
        self,
        texts: Iterable[str],
        schema: Any,
        *,
        task: Task | Capability | None = None,
        **options: Unpack[OptionArguments],
    ) -> Iterator[Extraction]:
        """The records of a stream of texts, in their order, while they come in; ids are positions from 1.

        Raises:
            SchemaError: the schema cannot be read.
            ConfigError: there is no such task, an option is impossible, or the model cannot do it.
            TextError: a text is blank, not encodable or too long; raised where it stands in the stream.
        """
        return self.answer(_queries(texts, schema, task, options))

    def answer(self, queries: Iterable[Query]) -> Iterator[Extraction]:
        """The extraction of each query, in their order, some batches at a time.

        Raises:
            TextError: texts of the batches at hand are unusable; all of them at once.
        """
        queries = iter(queries)
        while chunk := list(islice(queries, _BATCHES_IN_FLIGHT * self._generator.batch_size)):
            start = time.perf_counter()
            requests = self._usable_requests(chunk)
            with self._switched():
                outputs = self._generator.generate(requests)
                answers = [self._read(*item) for item in zip(chunk, requests, outputs, strict=True)]
            seconds = (time.perf_counter() - start) / len(chunk)
            for query, output, answer in zip(chunk, outputs, answers, strict=True):
                records, dropped = self._finished(query, *answer)
                yield Extraction(
                    id=query.id,
                    text=query.text,
                    records=records,
                    dropped=dropped,
                    truncated=output.truncated,
                    model=self.model_name,
                    seconds=round(seconds, 6),
                )

    def faults(self, queries: Iterable[Query]) -> dict[int, TextError]:
        """Why texts cannot be extracted from, by the position of their query; empty if all can."""
        return {
            index: item for index, item in enumerate(self._requests(queries)) if isinstance(item, TextError)
        }

    def _answer_all(self, queries: Sequence[Query]) -> list[Extraction]:
        self._usable_requests(queries)
        return list(self.answer(queries))

    def _usable_requests(self, queries: Sequence[Query]) -> list[Request]:
        """What to generate for each query.

        Raises:
            TextError: texts cannot be used; all of them at once.
        """
        requests = self._requests(queries)
        _raise_faults(requests)
        return [request for request in requests if isinstance(request, Request)]

    def _requests(self, queries: Iterable[Query]) -> list[Request | TextError]:
        """What to generate for each query, or why its text cannot be used."""
        requests: list[Request | TextError] = []
        for query in queries:
            try:
                request = self._request(query)
                self._generator.budget(request)
            except TextError as error:
                requests.append(error)
            else:
                requests.append(request)
        return requests

    def _request(self, query: Query) -> Request:
        if not query.text.strip():
            raise TextError(f"the text {show(query.text)} is empty; there is nothing to extract from")
        query.options.threshold.check(query.schema)
        _check_elements(query)
        if query.options.explain and not has_experts(self._model):
            raise ConfigError(
                f"the model {show(self.model_name)} has no capability experts; only those explain a record"
            )
        return Request(
            instruction_ids=self._encoder.encode_instruction(query.task, query.asked),
            text_ids=self._encoder.encode_text(query.text, query.elements),
            grammar=build_grammar(query.asked, query.text, query.task, elements=query.elements),
            capability_labels=capability_labels(query.task),
            end_bias=query.options.end_bias,
        )

    def _read(
        self, query: Query, request: Request, output: Output
    ) -> tuple[tuple[Record, ...], tuple[Dropped, ...]]:
        """The records that an output describes, and what of it is no record."""
        parsed = parse(output.text)
        alignment = align(parsed.frames, query.text, query.asked)
        records = score_records(output, parsed.frames, alignment, self._grammars)
        if query.options.explain:
            records = self._explained(query, request, output, alignment, records)
        return order_records(records, query.asked), (*parsed.dropped, *alignment.dropped)

    def _explained(
        self,
        query: Query,
        request: Request,
        output: Output,
        alignment: Alignment,
        records: Sequence[Record],
    ) -> tuple[Record, ...]:
        """The records, parallel to those of the alignment, with how the adapter routed their tokens."""
        explanations = explain_frames(
            self._model,
            request,
            output,
            alignment.frames,
            self._grammars,
            has_linears=query.options.explain == "linears",
        )
        return tuple(
            record.model_copy(update={"explanation": explanation})
            for record, explanation in zip(records, explanations, strict=True)
        )

    def _finished(
        self, query: Query, records: tuple[Record, ...], dropped: tuple[Dropped, ...]
    ) -> tuple[tuple[Record, ...], tuple[Dropped, ...]]:
        """All records of a text with the scores asked for, without those below their threshold."""
        if self._calibration is not None and not query.options.raw_scores:
            records = self._calibration.apply(records, query.task)
        return query.options.threshold.keep(records, dropped)

    def _switched(self) -> AbstractContextManager[None]:
        """Only the chosen capabilities while it is open: the model may be shared."""
        if self._capabilities is None:
            return nullcontext()
        context: AbstractContextManager[None] = self._model.base_model.capabilities(*self._capabilities)
        return context

    def _check_capabilities(self) -> None:
        for capability in self._capabilities or ():
            if capability not in CAPABILITIES:
                raise ConfigError(f"no capability {show(capability)}{did_you_mean(capability, CAPABILITIES)}")
        try:
            with self._switched():
                pass
        except (AttributeError, ValueError) as error:
            raise ConfigError(
                f"the model {show(self.model_name)} has no capability experts to choose from"
            ) from error


def _queries(
    texts: Iterable[str], schema: Any, task: Task | Capability | None, options: OptionArguments
) -> Iterator[Query]:
    """A query for each text; what they share is checked at once, the texts come when they are taken."""
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


def _check_elements(query: Query) -> None:
    """Raise a TextError where the task needs spans that are not given, or those given cannot be right."""
    if query.elements is None:
        if query.task == "associating":
            raise TextError(
                'there are no "elements"; the task associating links spans that are given, such as the '
                "records of the task locating"
            )
        return
    names = [frame.name for frame in located_schema(query.schema, has_evoked_frames=True).frames]
    faults = [fault for element in query.elements for fault in span_faults(element, query.text)]
    faults += [
        f"element {show(name)} is neither frame nor slot of the schema{did_you_mean(name, names)}"
        for name in dict.fromkeys(element.frame for element in query.elements)
        if name not in names
    ]
    if faults:
        raise TextError("; ".join(faults))


def _raise_faults(requests: Sequence[Request | TextError]) -> None:
    faults = {index: item for index, item in enumerate(requests) if isinstance(item, TextError)}
    if not faults:
        return
    if len(requests) == 1:
        raise faults[0]
    lines = [f"{len(faults):,} of {len(requests):,} texts cannot be used"]
    lines += [f"  text {index + 1}   {fault}" for index, fault in list(faults.items())[:MAX_LISTED_FAULTS]]
    if len(faults) > MAX_LISTED_FAULTS:
        lines.append(f"  ... and {len(faults) - MAX_LISTED_FAULTS:,} more")
    raise TextError("\n".join(lines))
