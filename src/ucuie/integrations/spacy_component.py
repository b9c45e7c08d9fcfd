"""A component for spaCy pipelines: `nlp.add_pipe("ucuie", config={"types": ["person", "city"]})`.

It writes

- `doc.ents`: the fillers of records without slots, as far as they do not overlap, longest first;
- `doc.spans["ucuie"]`: every filler, nested ones too, labelled with its frame, or "frame: slot"; their scores
  are `doc.spans["ucuie"].attrs["scores"]`;
- `doc._.ucuie`: the whole `Extraction`, with relations, events and exact offsets; None for a blank document.

Spans of spaCy end where tokens end, so a filler that begins or ends within a token is widened to it;
`doc._.ucuie` has the exact offsets. A component that is added with another name writes under that instead,
so that a pipeline may have several. Needs the extra `spacy`.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from ucuie.errors import ConfigError, MissingExtraError, show
from ucuie.extract.extractor import Extractor
from ucuie.extract.options import BATCH_SIZE, AnswerOptions
from ucuie.extract.result import Extraction
from ucuie.schema import Filler, Schema

try:
    from spacy.language import Language
    from spacy.tokens import Doc, Span, SpanGroup
    from spacy.util import filter_spans, minibatch
except ImportError:
    raise MissingExtraError("spacy", "spacy") from None

NAME = "ucuie"


class UcuieComponent:
    """Extracts from documents; it is configured and pickled without its model, which is loaded when needed.

    It has nothing to save either: everything is in the config, which the pipeline keeps.

    Args:
        name: of the component, of the group of spans and of the attribute `doc._` that it writes.
        schema: see `Extractor.extract`, as for task and threshold.
        model: see `Extractor.from_pretrained`, as for device and batch size.
        overwrite_ents: entities that are there already are dropped; otherwise they stay, and those found
            here have to find room beside them.
    """

    def __init__(
        self,
        name: str,
        schema: Schema,
        *,
        model: str | None,
        device: str | None,
        task: Any,
        threshold: Any,
        batch_size: int,
        overwrite_ents: bool,
    ) -> None:
        self.name = name
        self.schema = schema
        self._model = model
        self._device = device
        self._task = task
        self._threshold = threshold
        AnswerOptions.of(threshold=threshold).threshold.check(schema)
        self._batch_size = batch_size
        self._overwrite_ents = overwrite_ents
        self._loaded: Extractor | None = None
        _add_attribute(name)

    @property
    def extractor(self) -> Extractor:
        """Finds the records; loaded on first use.

        Raises:
            ModelError: there is no such model, or it is damaged.
        """
        if self._loaded is None:
            self._loaded = Extractor.from_pretrained(
                self._model, device=self._device, batch_size=self._batch_size
            )
        return self._loaded

    def __call__(self, doc: Doc) -> Doc:
        """The document with what is found in it."""
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], *, batch_size: int | None = None) -> Iterator[Doc]:
        """The documents, in their order, with what is found in them; some are read together."""
        for docs in minibatch(stream, batch_size or self._batch_size):
            texts = [doc.text for doc in docs if doc.text.strip()]
            found = iter(
                self.extractor.extract_batch(texts, self.schema, task=self._task, threshold=self._threshold)
            )
            for doc in docs:
                self._annotate(doc, next(found) if doc.text.strip() else None)
                yield doc

    def _annotate(self, doc: Doc, extraction: Extraction | None) -> None:
        setattr(doc._, self.name, extraction)
        spans: list[tuple[Span, float | None]] = []
        entities: list[Span] = []
        for record in () if extraction is None else extraction.records:
            if record.filler is not None:
                spans.append((_span(doc, record.filler, record.frame), record.filler.score))
                if not record.slots:
                    entities.append(spans[-1][0])
            for filled in record.slots:
                if filled.filler is not None:
                    label = f"{record.frame}: {filled.slot}"
                    spans.append((_span(doc, filled.filler, label), filled.filler.score))
        group = SpanGroup(doc, name=self.name, spans=[span for span, _ in spans])
        group.attrs["scores"] = [score for _, score in spans]
        doc.spans[self.name] = group
        kept = [] if self._overwrite_ents else list(doc.ents)
        taken = {token.i for span in kept for token in span}
        free = [span for span in entities if taken.isdisjoint(range(span.start, span.end))]
        doc.set_ents(kept + filter_spans(free))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        _add_attribute(self.name)


@Language.factory(  # type: ignore[untyped-decorator]  # spaCy is not typed
    NAME,
    assigns=["doc.ents", "doc.spans", "doc._.ucuie"],
    default_config={
        "types": None,
        "model": None,
        "device": None,
        "task": None,
        "threshold": None,
        "batch_size": BATCH_SIZE,
        "overwrite_ents": False,
    },
)
def make_component(
    nlp: Language,
    name: str,
    types: Any,
    model: str | None,
    device: str | None,
    task: str | None,
    threshold: Any,
    batch_size: int,
    overwrite_ents: bool,
) -> UcuieComponent:
    """The component of a config; `types` is the schema, in any form that JSON can hold.

    Raises:
        SchemaError: there is no schema, or it cannot be read.
        ConfigError: a threshold is impossible, or documents have another attribute of the component's name.
    """
    return UcuieComponent(
        name,
        Schema.of(types),
        model=model,
        device=device,
        task=task,
        threshold=threshold,
        batch_size=batch_size,
        overwrite_ents=overwrite_ents,
    )


def _span(doc: Doc, filler: Filler, label: str) -> Span:
    span: Span = doc.char_span(filler.start, filler.end, label=label, alignment_mode="expand")
    return span


def _add_attribute(name: str) -> None:
    """Give documents the attribute that a component of that name writes."""
    if not Doc.has_extension(name):
        Doc.set_extension(name, getter=partial(_get_extraction, name), setter=partial(_set_extraction, name))
    elif getattr(Doc.get_extension(name)[2], "func", None) is not _get_extraction:
        raise ConfigError(
            f"documents have an attribute {show(name)} already; give the component another name"
        )


def _set_extraction(name: str, doc: Doc, extraction: Extraction | None) -> None:
    # What is kept has to survive `doc.to_bytes`, which knows plain types only.
    doc.user_data[name] = None if extraction is None else extraction.to_json()


def _get_extraction(name: str, doc: Doc) -> Extraction | None:
    kept = doc.user_data.get(name)
    return None if kept is None else Extraction.model_validate_json(kept)


_add_attribute(NAME)
