"""OneIE JSON lines (ACE, GENEVA, WikiEvents): tokens, entity mentions, events and relations by entity id.

A line is a sentence, or, with `sentences` inside, a document that becomes one draft for each
sentence, in the document's own spacing. Ends are exclusive.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from ucuie.data.draft import Draft, Fault, entity, event, relation
from ucuie.data.readers.items import TokenOptions, read_items
from ucuie.data.tokens import JoinedTokens, join_tokens
from ucuie.schema import Record


class OneieOptions(TokenOptions):
    """Which annotation becomes records, and whether sentences without any are left out."""

    records: Literal["entities", "relations", "events"] = "events"
    only_with_records: bool = False


def read_oneie(paths: Sequence[Path], options: OneieOptions) -> Iterator[Draft | Fault]:
    """A draft for each sentence."""
    build = {"entities": _entities, "relations": _relations, "events": _events}[options.records]

    def drafts(place: str, item: dict[str, Any]) -> Iterator[Draft]:
        sentences = (
            _sentences(item)
            if "sentences" in item
            else [(item, join_tokens(item["tokens"], options.spacing))]
        )
        for sentence, joined in sentences:
            changes: list[str] = []
            records = tuple(build(sentence, joined, changes))
            if records or not options.only_with_records:
                yield Draft(place, joined.text, records, changes=tuple(changes))

    return read_items(paths, drafts)


def _sentences(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], JoinedTokens]]:
    """Each sentence of a document as if it stood alone, with the places of its tokens in its own text."""
    mentions: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for mention in document["entity_mentions"]:
        mentions["entity_mentions", mention["sent_idx"]].append(mention)
    for found in document["event_mentions"]:
        mentions["event_mentions", found["trigger"]["sent_idx"]].append(found)
    first_token = 0
    for index, (tokens, text) in enumerate(document["sentences"]):
        start = tokens[0][1]
        joined = JoinedTokens(text, tuple((first - start, last - start) for _, first, last in tokens))
        sentence = {
            "entity_mentions": [
                _shifted(mention, first_token) for mention in mentions["entity_mentions", index]
            ],
            "event_mentions": [
                found | {"trigger": _shifted(found["trigger"], first_token)}
                for found in mentions["event_mentions", index]
            ],
        }
        yield sentence, joined
        first_token += len(tokens)


def _shifted(mention: dict[str, Any], first_token: int) -> dict[str, Any]:
    return mention | {"start": mention["start"] - first_token, "end": mention["end"] - first_token}


def _entities(sentence: dict[str, Any], joined: JoinedTokens, changes: list[str]) -> Iterator[Record]:
    for mention in sentence["entity_mentions"]:
        yield entity(mention["entity_type"], joined.text, joined.span(mention["start"], mention["end"]))


def _relations(sentence: dict[str, Any], joined: JoinedTokens, changes: list[str]) -> Iterator[Record]:
    spans = {item["id"]: joined.span(item["start"], item["end"]) for item in sentence["entity_mentions"]}
    for found in sentence["relation_mentions"]:
        subject, object_ = (spans[argument["entity_id"]] for argument in found["arguments"])
        yield relation(found["relation_type"], joined.text, subject, object_)


def _events(sentence: dict[str, Any], joined: JoinedTokens, changes: list[str]) -> Iterator[Record]:
    spans = {item["id"]: joined.span(item["start"], item["end"]) for item in sentence["entity_mentions"]}
    for found in sentence["event_mentions"]:
        slots = []
        for argument in found["arguments"]:
            if argument["entity_id"] in spans:
                slots.append((argument["role"], spans[argument["entity_id"]]))
            else:
                changes.append("argument in another sentence left out")
        trigger = joined.span(found["trigger"]["start"], found["trigger"]["end"])
        yield event(found["event_type"], joined.text, trigger, slots)


def read_maven(paths: Sequence[Path], options: TokenOptions) -> Iterator[Draft | Fault]:
    """A draft for each sentence of MAVEN-like JSON lines; entity ids end with their token range."""

    def drafts(place: str, document: dict[str, Any]) -> Iterator[Draft]:
        joined = [join_tokens(sentence["tokens"], options.spacing) for sentence in document["content"]]
        records: list[list[Record]] = [[] for _ in joined]
        for kind in document["events"]:
            for mention in kind["mention"]:
                sentence = joined[mention["sent_id"]]
                slots = []
                for argument in mention["arguments"]:
                    start, end = map(int, argument["entity_id"].split("_")[-2:])
                    slots.append((argument["role"], sentence.span(start, end)))
                trigger = sentence.span(*mention["offset"])
                records[mention["sent_id"]].append(event(kind["type"], sentence.text, trigger, slots))
        for sentence, found in zip(joined, records, strict=True):
            yield Draft(place, sentence.text, tuple(found))

    return read_items(paths, drafts)
