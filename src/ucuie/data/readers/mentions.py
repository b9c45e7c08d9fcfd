"""Tokens with entities, relations and events: the JSON of OneIE, of DyGIE and CrossRE, and of SpERT.

OneIE (ACE, GENEVA, WikiEvents) has a sentence in a line, or, with `sentences` inside, a document that becomes
one draft for each sentence, in its own spacing; mentions have ids. CrossRE has a sentence in a line and
counts tokens in it, DyGIE a document of sentences and counts tokens in that; the ends of both are INCLUSIVE.
SpERT has a list of sentences, whose relations hold the indices of their entities.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Literal

from ucuie.data.draft import Draft, entity, event, relation
from ucuie.data.readers.items import TokenOptions, reader_of
from ucuie.data.sources import read_json_items
from ucuie.data.tokens import JoinedTokens, join_tokens
from ucuie.schema import Record

Kind = Literal["entities", "relations", "events"]


class OneieOptions(TokenOptions):
    """The annotation that becomes records, and whether sentences without any are left out."""

    records: Kind = "events"
    only_with_records: bool = False


@reader_of(read_json_items)
def read_oneie(place: str, item: dict[str, Any], options: OneieOptions) -> Iterator[Draft]:
    """A draft for each sentence."""
    sentences = (
        _sentences(item) if "sentences" in item else [(item, join_tokens(item["tokens"], options.spacing))]
    )
    for sentence, joined in sentences:
        changes: list[str] = []
        records = tuple(_oneie_records(options.records, sentence, joined, changes))
        if records or not options.only_with_records:
            yield Draft(place, joined.text, records, changes=tuple(changes))


def _sentences(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], JoinedTokens]]:
    """Each sentence of a document as if it stood alone, with the places of its tokens in its own text."""
    mentions, events = defaultdict(list), defaultdict(list)
    for mention in document["entity_mentions"]:
        mentions[mention["sent_idx"]].append(mention)
    for found in document["event_mentions"]:
        events[found["trigger"]["sent_idx"]].append(found)
    first = 0
    for index, (tokens, text) in enumerate(document["sentences"]):
        offset = tokens[0][1]
        spans = tuple((start - offset, end - offset) for _, start, end in tokens)
        sentence = {"entity_mentions": mentions[index], "event_mentions": events[index]}
        yield sentence, JoinedTokens(text, spans, first)
        first += len(tokens)


def _oneie_records(
    kind: Kind, sentence: dict[str, Any], joined: JoinedTokens, changes: list[str]
) -> Iterator[Record]:
    if kind == "entities":
        for mention in sentence["entity_mentions"]:
            yield entity(mention["entity_type"], joined.text, joined.span(mention["start"], mention["end"]))
        return
    spans = {item["id"]: joined.span(item["start"], item["end"]) for item in sentence["entity_mentions"]}
    if kind == "relations":
        for found in sentence["relation_mentions"]:
            subject, object_ = (spans[argument["entity_id"]] for argument in found["arguments"])
            yield relation(found["relation_type"], joined.text, subject, object_)
        return
    for found in sentence["event_mentions"]:
        slots = []
        for argument in found["arguments"]:
            if argument["entity_id"] in spans:
                slots.append((argument["role"], spans[argument["entity_id"]]))
            else:
                changes.append("argument in another sentence left out")
        trigger = joined.span(found["trigger"]["start"], found["trigger"]["end"])
        yield event(found["event_type"], joined.text, trigger, slots)


class DygieOptions(TokenOptions):
    """Says which annotation becomes records."""

    records: Kind = "relations"


@reader_of(read_json_items)
def read_dygie(place: str, document: dict[str, Any], options: DygieOptions) -> Iterator[Draft]:
    """A draft for each sentence."""
    if "sentence" in document:
        keys = {"sentence": "sentences", "ner": "ner", "relations": "relations"}
        document = {plural: [document[key]] for key, plural in keys.items()}
    first = 0
    for index, tokens in enumerate(document["sentences"]):
        joined = join_tokens(tokens, options.spacing, first=first)
        kinds = [kind for kind in ("ner", "relations", "events") if kind in document]
        annotation: dict[str, Any] = {kind: document[kind][index] for kind in kinds}
        yield Draft(place, joined.text, tuple(_dygie_records(options.records, annotation, joined)))
        first += len(tokens)


def _dygie_records(kind: Kind, annotation: dict[str, Any], joined: JoinedTokens) -> Iterator[Record]:
    text = joined.text
    if kind == "entities":
        for start, last, label, *_ in annotation["ner"]:
            yield entity(label, text, joined.span(start, last + 1))
    elif kind == "relations":
        for start, last, other, other_last, label, *_ in annotation["relations"]:
            yield relation(label, text, joined.span(start, last + 1), joined.span(other, other_last + 1))
    else:
        for (index, label, *_), *arguments in annotation["events"]:
            slots = [(role, joined.span(start, last + 1)) for start, last, role, *_ in arguments]
            yield event(label, text, joined.span(index, index + 1), slots)


class SpertOptions(TokenOptions):
    """Says which annotation of SpERT becomes records."""

    records: Literal["relations", "entities"] = "relations"


@reader_of(read_json_items)
def read_spert(place: str, sentence: dict[str, Any], options: SpertOptions) -> Draft:
    """A draft for each sentence, with its relations or its entities."""
    joined = join_tokens(sentence["tokens"], options.spacing)
    text, entities = joined.text, sentence["entities"]
    spans = [joined.span(item["start"], item["end"]) for item in entities]
    if options.records == "entities":
        found = [entity(item["type"], text, span) for item, span in zip(entities, spans, strict=True)]
    else:
        found = [
            relation(one["type"], text, spans[one["head"]], spans[one["tail"]])
            for one in sentence["relations"]
        ]
    return Draft(place, text, tuple(found))
