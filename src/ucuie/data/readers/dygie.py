"""Token ranges for entities, relations and events: DyGIE, CrossRE and SpERT JSON.

CrossRE has one sentence in a line and counts tokens in it; DyGIE has a document of sentences and counts
tokens in the document; both have ends INCLUSIVE. SpERT has a list of sentences with tokens, entities and
relations between entity indices.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ucuie.data.draft import Draft, Fault, entity, event, relation
from ucuie.data.readers.items import TokenOptions, read_items
from ucuie.data.tokens import JoinedTokens, join_tokens
from ucuie.schema import Record


class DygieOptions(TokenOptions):
    """Says which annotation becomes records."""

    records: Literal["entities", "relations", "events"] = "relations"


def read_dygie(paths: Sequence[Path], options: DygieOptions) -> Iterator[Draft | Fault]:
    """A draft for each sentence."""
    build = {"entities": _entities, "relations": _relations, "events": _events}[options.records]

    def drafts(place: str, document: dict[str, Any]) -> Iterator[Draft]:
        if "sentence" in document:
            document = {
                "sentences": [document["sentence"]],
                "ner": [document["ner"]],
                "relations": [document["relations"]],
            }
        offset = 0
        for index, tokens in enumerate(document["sentences"]):
            joined = join_tokens(tokens, options.spacing)
            annotation: dict[str, Any] = {
                key: document[key][index] for key in ("ner", "relations", "events") if key in document
            }
            yield Draft(place, joined.text, tuple(build(_Sentence(joined, offset), annotation)))
            offset += len(tokens)

    return read_items(paths, drafts)


class _Sentence:
    def __init__(self, joined: JoinedTokens, offset: int) -> None:
        self.text = joined.text
        self._joined = joined
        self._offset = offset

    def span(self, first: int, last: int) -> tuple[int, int]:
        return self._joined.span(first - self._offset, last - self._offset + 1)


def _entities(sentence: _Sentence, annotation: dict[str, Any]) -> Iterator[Record]:
    for first, last, label, *_ in annotation["ner"]:
        yield entity(label, sentence.text, sentence.span(first, last))


def _relations(sentence: _Sentence, annotation: dict[str, Any]) -> Iterator[Record]:
    for first, last, other_first, other_last, label, *_ in annotation["relations"]:
        ends = sentence.span(first, last), sentence.span(other_first, other_last)
        yield relation(label, sentence.text, *ends)


def _events(sentence: _Sentence, annotation: dict[str, Any]) -> Iterator[Record]:
    for (index, label, *_), *arguments in annotation["events"]:
        slots = [(role, sentence.span(first, last)) for first, last, role, *_ in arguments]
        yield event(label, sentence.text, sentence.span(index, index), slots)


class SpertOptions(TokenOptions):
    """Says which annotation of SpERT becomes records."""

    records: Literal["relations", "entities"] = "relations"


def read_spert(paths: Sequence[Path], options: SpertOptions) -> Iterator[Draft | Fault]:
    """A draft for each sentence, with its relations or its entities."""
    return read_items(paths, partial(_draft, options))


def _draft(options: SpertOptions, place: str, sentence: dict[str, Any]) -> Draft:
    joined = join_tokens(sentence["tokens"], options.spacing)
    text = joined.text
    entities = sentence["entities"]
    spans = [joined.span(item["start"], item["end"]) for item in entities]
    if options.records == "entities":
        found = [entity(item["type"], text, span) for item, span in zip(entities, spans, strict=True)]
        return Draft(place, text, tuple(found))
    found = [
        relation(one["type"], text, spans[one["head"]], spans[one["tail"]]) for one in sentence["relations"]
    ]
    return Draft(place, text, tuple(found))
