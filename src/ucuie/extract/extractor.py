"""The public face: a model, a schema and texts in, extractions out.

    extractor = Extractor.from_pretrained()
    extractor.extract("Ada Lovelace lived in London.", ["person", "city"]).records

Everything goes one way, a `Query` at a time, and so do the methods below: its documents (`prompts`), one for
each group of frames; their parts, one for each window; outputs for them (`engine`), which are read
(`linearize`), placed (`align`) and scored; then all windows and groups together (`document`).
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, NoReturn

from ucuie.engine.confidence import score_records
from ucuie.engine.explanation import explain_frames, has_experts
from ucuie.engine.generate import Generator
from ucuie.engine.grammar_state import GrammarFactory
from ucuie.engine.requests import Output
from ucuie.errors import MAX_LISTED_FAULTS, ConfigError, TextError, did_you_mean, show
from ucuie.extract.document import Answer, Document, Found, Part, extraction_of, is_in_circles, ran_on
from ucuie.extract.options import BATCH_SIZE, ModelOptions, check_names, positive
from ucuie.extract.prompts import Prompts
from ucuie.extract.query import AnswersQueries, Query, task_named, until_fault
from ucuie.extract.result import Extraction, rank_answers
from ucuie.language.align import align
from ucuie.language.encode import PromptEncoder
from ucuie.language.linearize import order_records, parse
from ucuie.model.folder import DEFAULT, LoadedModel, load_model
from ucuie.schema import CAPABILITIES, Capability, Dropped, Record

__all__ = ["Extractor", "Query", "task_named"]

NO_ALTERNATIVES = "alternatives, which a text has only where it is read as a whole, for the whole schema"
_BATCHES_IN_FLIGHT = 4
"""So many batches go to the generator at once: while it writes the last outputs, there is room for others."""
_MOST_OUTPUT = 4096
"""Tokens, without a limit that was asked for: an output that needs more has its window divided."""


class Extractor(AnswersQueries):
    """Extracts records from texts with one model.

    Threads may share an extractor, or a model: they take turns, some batches at a time, and get the answers
    that they would get alone.

    Args:
        loaded: a model; several extractors may share one.
        capabilities: which of the adapter's capability experts take part; None means all. The shared expert
            always does.
        batch_size: texts, or windows of long ones, per forward pass.
        max_new_tokens: where the output for a window is cut; the extraction is then marked as truncated. None
            cuts nothing: a window whose output needs more than the model's context is divided.
        window_tokens: of a longer text's windows. None takes the length of the texts that the model was
            trained on; where that is not known, a text is read as a whole if it fits into the context with an
            output of its length, a longer one in windows of WINDOW_TOKENS.
        int8: large products are rounded to 8 bits: faster on a CPU, and now and then another answer.
        before_forward: called before each step of the model; what it raises ends the work.

    Raises:
        ModelError: int8 is not possible with this model, or not here.
        ConfigError: a capability is unknown, the model has no capability experts to choose from, or a number
            of tokens is not positive.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        capabilities: Collection[Capability] | None = None,
        batch_size: int = BATCH_SIZE,
        max_new_tokens: int | None = None,
        window_tokens: int | None = None,
        int8: bool = False,
        before_forward: Callable[[], None] | None = None,
    ) -> None:
        self.model_name = loaded.name
        """What the extractions call the model."""
        self.operating_point = loaded.operating_point
        """Where the model stands between precision and recall: what a query's own options start from."""
        self._info = loaded.info
        self._model = loaded.model
        self._turn = loaded.turn
        self._calibration = loaded.calibration
        self._capabilities = None if capabilities is None else tuple(capabilities)
        self._check_capabilities()
        self._int8 = int8
        self._max_new_tokens = positive("max_new_tokens", max_new_tokens)
        if window_tokens is None and loaded.info is not None:
            window_tokens = loaded.info.window_tokens
        self._window_tokens = positive("window_tokens", window_tokens)
        self._grammars = GrammarFactory(loaded.tokenizer, loaded.model.config.vocab_size)
        self._generator = Generator(
            loaded.model,
            self._grammars,
            batch_size=batch_size,
            max_new_tokens=self._max_new_tokens or _MOST_OUTPUT,
            may_copy=not loaded.shares_backbone,
            int8=int8,
        )
        if before_forward is not None:
            self._generator.before_forward = before_forward
        self._prompts = Prompts(
            PromptEncoder(loaded.tokenizer, pool=loaded.pool), self._generator.context, self._window_tokens
        )

    @classmethod
    def from_pretrained(
        cls, model: str | Path | None = None, *, device: str | None = None, **options: Any
    ) -> "Extractor":
        """An extractor with a model from disk or from a hub.

        Args:
            model: a model folder, a GGUF file, a hub id or the name of a model of the package; None takes the
                package's default.
            device: such as "cpu" or "cuda:1"; None takes a GPU if there is one.
            **options: what the class takes beside the model.

        Raises:
            ModelError: there is no such model, or it is damaged; says what to do.
            ConfigError: an option is impossible or unknown.
        """
        check_names(options, ModelOptions.model_fields.keys() - {"model", "device"})
        return cls(load_model(DEFAULT if model is None else model, device=device), **options)

    @property
    def identity(self) -> str:
        """The model and all options that change what it answers, as one string."""
        info = None if self._info is None else self._info.model_dump_json()
        limits = (self._max_new_tokens, self._window_tokens)
        return repr((self.model_name, info, self._capabilities, limits, self._int8))

    def __getstate__(self) -> NoReturn:
        raise ConfigError(
            "an extractor is not pickled or copied, with all the model that it holds; send the name of the "
            "model, and let each process make its own with Extractor.from_pretrained"
        )

    def check(self, query: Query) -> None:
        """Refuse a query that cannot be answered; raises as `AnswersQueries.check`."""
        self._open(query)

    def answer(self, queries: Iterable[Query]) -> Iterator[Extraction]:
        """The extraction of each query, in their order, some batches at a time.

        Texts are read as they come and a long one window by window; windows of several texts share batches.
        An interrupt (Ctrl-C) is raised after the extractions that were finished by then.

        Raises:
            TextError: a text or its elements are unusable; raised where they stand, after the extractions
                before them.
            SchemaError: a schema is too large for the model's context; raised where its text stands.
        """
        documents: deque[list[Document]] = deque()
        faults: list[BaseException] = []
        parts = until_fault(self._parts(queries, documents), faults)
        # The first texts need not wait for more than they share a batch with.
        num_parts = self._generator.batch_size
        while not faults and (chunk := list(islice(parts, num_parts))):
            start = time.perf_counter()
            try:
                self._answer_parts(chunk)
            except KeyboardInterrupt as interrupt:
                faults.append(interrupt)
            seconds = (time.perf_counter() - start) / len(chunk)
            for part in takewhile(Part.is_answered, chunk):
                part.document.add(part, seconds)
            while documents and all(document.is_finished for document in documents[0]):
                yield self._extraction(documents.popleft())
            num_parts = _BATCHES_IN_FLIGHT * self._generator.batch_size
        if faults:
            raise faults[-1]

    def _parts(self, queries: Iterable[Query], documents: deque[list[Document]]) -> Iterator[Part]:
        """The parts of all texts, each text opened when its turn comes."""
        for query in queries:
            opened = self._open(query)
            documents.append(opened)
            for document in opened:
                yield from document.parts()

    def _open(self, query: Query) -> list[Document]:
        """The text once for each group of the schema's frames; most schemas are one group."""
        query.check()
        query = query.at(self.operating_point)
        if query.options.n_best > self._generator.batch_size:
            raise ConfigError(
                f"n_best is {query.options.n_best:,}, and the answers to a text share a batch, which has "
                f"room for {self._generator.batch_size:,}; ask for fewer, or set a larger batch_size"
            )
        # No more are looked for than a message can list: the nearest name to an unknown one takes time.
        if faults := list(islice(query.element_faults(), MAX_LISTED_FAULTS)):
            raise TextError(
                "; ".join(
                    fault if position is None else f"elements[{position}]: {fault}"
                    for position, fault in faults
                )
            )
        if query.options.explain and not has_experts(self._model):
            raise ConfigError(
                f"the model {show(self.model_name)} has no capability experts; only those explain a record"
            )
        return self._prompts.documents(query)

    def _answer_parts(self, parts: Sequence[Part]) -> None:
        """Answer all parts; one whose output is longer than the context is divided and asked again.

        An interrupt leaves the answers that were finished by then.
        """
        pending = [leaf for part in parts for leaf in part.leaves()]
        with self._switched():
            while pending:
                outputs = self._generator.stream([part.request for part in pending])
                divided: list[Part] = []
                for index, output in outputs:
                    part, ended = pending[index], _ended(output)
                    is_cut = ended.truncated and not self._is_cut_by_user(ended)
                    is_hopeless = is_in_circles(len(ended.tokens), len(part.request.text_ids))
                    if is_cut and not is_hopeless and part.divide():
                        divided += part.leaves()
                    else:
                        part.answer = self._read(part, ended)
                pending = divided

    def _is_cut_by_user(self, output: Output) -> bool:
        limit = self._max_new_tokens
        return output.truncated and limit is not None and len(output.tokens) >= limit

    def _read(self, part: Part, output: Output) -> Answer:
        """The records that an output describes, what of it is no record, and the same of its alternatives."""
        others = tuple(self._read(part, other) for other in output.alternatives)
        query = part.document.query
        parsed = parse(output.text)
        alignment = align(parsed.frames, part.text, query.asked)
        records = score_records(output, parsed.frames, alignment, self._grammars)
        if query.options.explain:
            explanations = explain_frames(
                self._model,
                part.request,
                output,
                alignment.frames,
                self._grammars,
                has_linears=query.options.explain == "linears",
            )
            records = tuple(
                record.model_copy(update={"explanation": explanation})
                for record, explanation in zip(records, explanations, strict=True)
            )
        dropped = (*parsed.dropped, *alignment.dropped)
        is_cut_by_user = self._is_cut_by_user(output)
        if output.truncated and not is_cut_by_user:
            dropped = (*dropped, ran_on(output.text))
        return Answer(
            order_records(records, query.asked), dropped, is_cut_by_user, output.log_probability, others
        )

    def _extraction(self, documents: Sequence[Document]) -> Extraction:
        """What was found in a text, for all groups of the schema, in the form that was asked for."""
        found = [
            self._kept(one.query, one.whole.records if one.whole else one.merged(), one.dropped)
            for one in documents
        ]
        seconds = sum(one.seconds for one in documents)
        extraction = extraction_of(documents, found, model=self.model_name, seconds=seconds)
        query, whole = documents[0].query, documents[0].whole
        if query.options.n_best == 1:
            return extraction
        if whole is None or len(documents) > 1:
            missing = Dropped(reason=NO_ALTERNATIVES, value=f"n_best={query.options.n_best}")
            return extraction.model_copy(update={"dropped": (*extraction.dropped, missing)})
        answers = (whole, *whole.alternatives)
        best, *others = rank_answers(
            [self._kept(query, answer.records, answer.dropped) for answer in answers],
            [answer.log_probability for answer in answers],
        )
        return extraction.model_copy(
            update={"records": best.records, "dropped": best.dropped, "alternatives": tuple(others)}
        )

    def _kept(self, query: Query, records: tuple[Record, ...], dropped: Iterable[Dropped]) -> Found:
        """The records with the scores asked for and without those below their threshold; what is dropped."""
        if self._calibration is not None and not query.options.raw_scores:
            records = self._calibration.apply(records, query.task)
        return query.options.threshold.keep(records, dropped)

    @contextmanager
    def _switched(self) -> Iterator[None]:
        """The model for this thread alone, with only the chosen capabilities, while it is open."""
        chosen = self._capabilities
        with self._turn, nullcontext() if chosen is None else self._model.base_model.capabilities(*chosen):
            yield

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


def _ended(output: Output) -> Output:
    """The likeliest output that came to an end, with others that did; the output itself if none did.

    The probability of a beginning cannot be compared with that of a whole output.
    """
    ended = [one for one in (output, *output.alternatives) if not one.truncated]
    if not ended:
        return replace(output, alternatives=())
    return replace(ended[0], alternatives=tuple(ended[1:]))
