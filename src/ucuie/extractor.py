"""The public face: a model, a schema and texts in, extractions out.

    extractor = Extractor.from_pretrained()
    extractor.extract("Ada Lovelace lived in London.", ["person", "city"]).records

Everything goes one way, a `Query` at a time: prompt (`encode`), grammar and generation (`decode`), reading
(`linearize`), offsets (`align`), confidence (`decode`), `Extraction`.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ucuie.align import align
from ucuie.capabilities import capability_labels
from ucuie.decode.confidence import score_records
from ucuie.decode.generate import Generator
from ucuie.decode.grammar import GrammarFactory, build_grammar
from ucuie.decode.requests import Output, Request
from ucuie.encode import PromptEncoder
from ucuie.errors import MAX_LISTED_FAULTS, ConfigError, TextError, did_you_mean, show
from ucuie.extraction import Extraction
from ucuie.linearize import order_records, parse
from ucuie.model_folder import EMBEDDED, LoadedModel, load_model
from ucuie.schema import CAPABILITIES, TASKS, Capability, Dropped, Example, Record, Schema, Task

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
    """

    id: str
    text: str
    schema: Schema
    task: Task | Capability
    elements: tuple[Record, ...] | None = None

    @classmethod
    def of_example(cls, example: Example) -> "Query":
        """The question that an example is the answer to."""
        return cls(example.id, example.text, example.schema, example.task, example.elements)


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
    ) -> Extraction:
        """The records of one text.

        Args:
            text: not blank, and short enough for the model's context.
            schema: a `Schema`, or whatever `Schema.of` reads: a list of names, a mapping from frames to
                slots, a pydantic class, JSON, or the path of a YAML or JSON file.
            id: of the extraction.
            task: whose wording asks for it; None takes the task that the schema has the shape of.

        Raises:
            SchemaError: the schema cannot be read.
            TextError: the text is blank, not encodable or too long; texts are never cut.
        """
        (extraction,) = self._extract([id], [text], schema, task)
        return extraction

    def extract_batch(
        self, texts: Sequence[str], schema: Any, *, task: Task | Capability | None = None
    ) -> list[Extraction]:
        """The records of several texts, in their order; ids are positions from 1.

        Raises:
            SchemaError: the schema cannot be read.
            TextError: texts are blank, not encodable or too long; all of them at once, before any work.
        """
        return self._extract([str(number) for number in range(1, len(texts) + 1)], texts, schema, task)

    def extract_iter(
        self, texts: Iterable[str], schema: Any, *, task: Task | Capability | None = None
    ) -> Iterator[Extraction]:
        """The records of a stream of texts, in their order, while they come in; ids are positions from 1.

        Raises:
            SchemaError: the schema cannot be read.
            TextError: a text is blank, not encodable or too long; raised where it stands in the stream.
        """
        schema = Schema.of(schema)
        task = task_named(task, schema)
        return self.answer(
            Query(str(number), text, schema, task) for number, text in enumerate(texts, start=1)
        )

    def answer(self, queries: Iterable[Query]) -> Iterator[Extraction]:
        """The extraction of each query, in their order, some batches at a time.

        Raises:
            TextError: texts of the batches at hand are unusable; all of them at once.
        """
        queries = iter(queries)
        while chunk := list(islice(queries, _BATCHES_IN_FLIGHT * self._generator.batch_size)):
            start = time.perf_counter()
            requests = self._requests(chunk)
            _raise_faults(requests)
            with self._switched():
                outputs = self._generator.generate([item for item in requests if isinstance(item, Request)])
            answers = [self._read(query, output) for query, output in zip(chunk, outputs, strict=True)]
            seconds = (time.perf_counter() - start) / len(chunk)
            for query, output, (records, dropped) in zip(chunk, outputs, answers, strict=True):
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

    def _extract(
        self, ids: Sequence[str], texts: Sequence[str], schema: Any, task: Task | Capability | None
    ) -> list[Extraction]:
        schema = Schema.of(schema)
        task = task_named(task, schema)
        queries = [Query(text_id, text, schema, task) for text_id, text in zip(ids, texts, strict=True)]
        _raise_faults(self._requests(queries))
        return list(self.answer(queries))

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
        return Request(
            instruction_ids=self._encoder.encode_instruction(query.task, query.schema),
            text_ids=self._encoder.encode_text(query.text, query.elements),
            grammar=build_grammar(query.schema, query.text, query.task, elements=query.elements),
            capability_labels=capability_labels(query.task),
        )

    def _read(self, query: Query, output: Output) -> tuple[tuple[Record, ...], tuple[Dropped, ...]]:
        """The records that an output describes, and what of it is no record."""
        parsed = parse(output.text)
        alignment = align(parsed.frames, query.text, query.schema)
        records = score_records(output, parsed.frames, alignment, self._grammars)
        return order_records(records, query.schema), (*parsed.dropped, *alignment.dropped)

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
