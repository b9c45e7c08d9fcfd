"""The same annotation asked for in several ways: entities, relations, events with roles, or all at once.

A corpus that has all of these would repeat every sentence; here the hash of its place decides which it gives.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from making.sources.numbering import Found, share
from ucuie.data.draft import entity, filled_slots, filler_at, tuple_record
from ucuie.language.windows import sentence_ends
from ucuie.schema import Frame, Record, Slot, Span

_SHARES = {"entities": 0.4, "relations": 0.2, "events": 0.25, "all": 0.15}
_SHARE_OF_EMPTY = 0.15
"""Of the sentences without a record of the kind that they are to give."""

_MAX_RECORDS = 16
"""More would be an answer far longer than its text."""

Relation = tuple[str, Span, Span]
Event = tuple[str, Span, tuple[tuple[str, Span], ...]]


@dataclass(frozen=True)
class Words:
    """The frames that labels of a corpus stand for; a label that is not there is left out."""

    entities: Mapping[str, Frame]
    relations: Mapping[str, Frame]
    events: Mapping[str, Frame]
    roles: Mapping[str, str]


@dataclass(frozen=True)
class Annotated:
    """A text with the labels of its corpus."""

    place: str
    text: str
    entities: tuple[tuple[str, Span], ...]
    relations: tuple[Relation, ...] = ()
    events: tuple[Event, ...] = ()


def relation(name: str, subject: str, object_: str, description: str | None = None) -> Frame:
    """A frame for a relation; what its two slots are told by their descriptions."""
    slots = (Slot(name="subject", description=subject), Slot(name="object", description=object_))
    return Frame(name=name, description=description, slots=slots)


def sentences_of(document: Annotated) -> Iterator[Annotated]:
    """Each sentence of each line with what lies within it whole; events keep the roles that do."""
    line_start = 0
    for line in document.text.splitlines(keepends=True):
        start = line_start
        for end in sentence_ends(line):
            stretch = document.text[start : line_start + end]
            trimmed = stretch.strip()
            if trimmed:
                first = start + len(stretch) - len(stretch.lstrip())
                yield _cut(document, (first, first + len(trimmed)))
            start = line_start + end
        line_start += len(line)


def _cut(document: Annotated, within: Span) -> Annotated:
    low, high = within

    def is_inside(span: Span) -> bool:
        return low <= span[0] and span[1] <= high

    def moved(span: Span) -> Span:
        return span[0] - low, span[1] - low

    return Annotated(
        f"{document.place} {low}",
        document.text[low:high],
        tuple((label, moved(span)) for label, span in document.entities if is_inside(span)),
        tuple(
            (label, moved(first), moved(second))
            for label, first, second in document.relations
            if is_inside(first) and is_inside(second)
        ),
        tuple(
            (label, moved(trigger), tuple((role, moved(span)) for role, span in roles if is_inside(span)))
            for label, trigger, roles in document.events
            if is_inside(trigger)
        ),
    )


def kinds_of(sentence: Annotated, words: Words) -> Iterator[Found]:
    """One kind, or none where the sentence has no record of that and is not drawn as a negative."""
    number, kind = share(sentence.place), ""
    shares = {name: part for name, part in _SHARES.items() if name != "events" or words.events}
    total = sum(shares.values())
    for kind, part in shares.items():  # noqa: B007  the last is what is left
        number -= part / total
        if number < 0:
            break
    entities = tuple(_entities(sentence, words))
    relations = tuple(_relations(sentence, words))
    events = tuple(_events(sentence, words))
    if kind == "entities":
        found = Found("NER", sentence.text, _unique(words.entities), entities)
    elif kind == "relations":
        found = Found("RE", sentence.text, _unique(words.relations), relations)
    elif kind == "events":
        found = Found("EE", sentence.text, _unique(words.events), events)
    else:
        # A trigger is told once, as the event.
        others = {label: frame for label, frame in words.entities.items() if label not in words.events}
        names = {frame.name for frame in others.values()}
        records = (*(one for one in entities if one.frame in names), *relations, *events)
        frames = (*_unique(others), *_unique(words.relations), *_unique(words.events))
        found = Found("EE", sentence.text, frames, records)
    if len(found.records) > _MAX_RECORDS:
        return
    if found.records or share(sentence.place + " empty") < _SHARE_OF_EMPTY:
        yield found


def _unique(frames: Mapping[str, Frame]) -> tuple[Frame, ...]:
    return tuple({frame.name: frame for frame in frames.values()}.values())


def _entities(sentence: Annotated, words: Words) -> Iterable[Record]:
    for label, span in sentence.entities:
        if label in words.entities and any(map(str.isalnum, sentence.text[slice(*span)])):
            yield entity(words.entities[label].name, sentence.text, span)


def _relations(sentence: Annotated, words: Words) -> Iterable[Record]:
    for label, first, second in sentence.relations:
        if label in words.relations:
            slots = [("subject", first), ("object", second)]
            yield tuple_record(words.relations[label].name, sentence.text, slots)


def _events(sentence: Annotated, words: Words) -> Iterable[Record]:
    for label, trigger, roles in sentence.events:
        if label in words.events:
            named = [(words.roles[role], span) for role, span in roles if role in words.roles]
            yield Record(
                frame=words.events[label].name,
                filler=filler_at(sentence.text, trigger),
                slots=filled_slots(sentence.text, named),
            )
