"""spaCy's DocBin: documents of words with entities; needs the extra `spacy`.

All entities, nested ones too, are the span group "sc", which spaCy's span categorizer reads; `doc.ents`
holds those of them that do not overlap, the longest first. Read are the span groups, or `doc.ents` where
there are none.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from zlib import error as ZlibError

from ucuie.data.draft import Draft, Fault, Readings, entity
from ucuie.data.readers.items import ReaderOptions, reason_of
from ucuie.data.tokens import NOT_AN_ENTITY, words_of
from ucuie.errors import DataError, needs
from ucuie.schema import Example, Span

SPAN_GROUP = "sc"


def read_doc_bin(paths: Sequence[Path], options: ReaderOptions) -> Readings:
    """A draft for each document.

    Raises:
        MissingExtraError: spaCy is not installed.
        DataError: a file is no DocBin.
    """
    spacy = needs("spacy", "spacy")
    vocabulary = spacy.vocab.Vocab()
    for path in paths:
        try:
            documents = spacy.tokens.DocBin().from_disk(path)
        except (LookupError, ValueError, ZlibError) as error:
            raise DataError(str(path), [f"no DocBin: {reason_of(error)}"]) from None
        for number, document in enumerate(documents.get_docs(vocabulary), start=1):
            yield _draft(f"{path.name} document {number}", document)


def _draft(place: str, document: Any) -> Draft | Fault:
    text = document.text
    if not text.strip():
        return Fault(place, "the text is empty")
    spans = [span for group in document.spans.values() for span in group] or document.ents
    found = dict.fromkeys((span.label_, (span.start_char, span.end_char)) for span in spans)
    return Draft(place, text, tuple(entity(label, text, span) for label, span in found))


def write_doc_bin(examples: Iterable[Example], path: Path) -> Iterator[list[str]]:
    """Writes a DocBin and yields, for each example, what it cannot hold.

    Raises:
        MissingExtraError: spaCy is not installed.
    """
    spacy = needs("spacy", "spacy")
    vocabulary = spacy.vocab.Vocab()
    documents = spacy.tokens.DocBin()
    for example in examples:
        words = words_with_blanks(example)
        document = spacy.tokens.Doc(
            vocabulary,
            words=[example.text[slice(*word)] for word, _ in words],
            spaces=[has_blank for _, has_blank in words],
        )
        spans = [
            document.char_span(*record.filler.span, label=record.frame)
            for record in example.records
            if record.filler is not None and not record.slots
        ]
        document.spans[SPAN_GROUP] = spans
        document.ents = spacy.util.filter_spans(spans)
        documents.add(document)
        yield [NOT_AN_ENTITY] * (len(example.records) - len(spans))
    documents.to_disk(path)


def words_with_blanks(example: Example) -> list[tuple[Span, bool]]:
    """The ranges of tokens that make up the whole text, and whether one blank follows outside the range.

    A token ends wherever a filler does. A blank at the edge of a filler is a token of its own, and so is
    other white space.
    """
    starts = {filler.start for record in example.records for filler in record.fillers()}
    ends = {filler.end for record in example.records for filler in record.fillers()}
    words: list[tuple[Span, bool]] = []
    position = 0
    for start, end in (*words_of(example), (len(example.text), len(example.text))):
        for place in range(position, start):
            is_after_word = place == position and words and not words[-1][1]
            if example.text[place] == " " and is_after_word and place not in starts and place + 1 not in ends:
                words[-1] = words[-1][0], True
            else:
                words.append(((place, place + 1), False))
        if start < end:
            words.append(((start, end), False))
        position = end
    return words
