"""From drafts, which are texts with records in a corpus's own labels, to the examples of a source.

A corpus says what its labels mean in a table of types, one `label | name | description` a line; labels that
the table does not have are left out, with a count.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from making.sources.numbering import Examples, Found, numbered, share
from ucuie.data import Fault, normalised_text
from ucuie.data.draft import Draft, entity, filler_at, map_fillers
from ucuie.data.readers.columns import decode_tags
from ucuie.data.tokens import Spacing, join_tokens, respaced
from ucuie.schema import FilledSlot, Filler, Frame, Record, Slot
from ucuie.sentences import sentence_ends

Readings = Iterable[Draft | Fault]
Types = Mapping[str, Frame]
"""The frame that a label of the corpus stands for. Roles stand there as frames too, for their names."""

LARGEST_SHARE_OF_NEGATIVES = 0.25
_GAP = re.compile(r"\s+")


def types_of(table: str) -> dict[str, Frame]:
    """The types of a table with a line `label | name | description` each; the description may be absent."""
    rows = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    return {label: Frame(name=name, description=" ".join(rest) or None) for label, name, *rest in rows}


def intent_of(name: str, description: str | None, roles: Iterable[Frame]) -> Frame:
    """A frame for what an utterance asks, with the types of its parts as slots."""
    slots = tuple(Slot(name=role.name, description=role.description) for role in roles)
    return Frame(name=name, description=description, slots=slots)


def unified(name: str, readings: Readings, types: Types) -> Examples:
    """The examples of a source: names in words, each text once, at most a quarter of them without records.

    A draft that does not say what it `offered` is complete for all types without slots.
    """
    found, left = _found(readings, types)
    left_later = yield from numbered(name, found)
    return left + left_later


def _found(readings: Readings, types: Types) -> tuple[list[Found], Counter[str]]:
    everything = tuple(label for label, frame in types.items() if not frame.slots)
    found: dict[str, Found] = {}
    left: Counter[str] = Counter()
    for reading in readings:
        if isinstance(reading, Fault):
            left[reading.reason] += 1
            continue
        left.update(reading.changes)
        key = normalised_text(reading.text)
        if key in found:
            left["repeated text"] += 1
            continue
        frames = {types[label].name: types[label] for label in reading.offered or everything}
        found[key] = Found(
            task="EE" if any(frame.slots for frame in frames.values()) else "NER",
            text=reading.text,
            frames=tuple(frames.values()),
            records=tuple(_named(reading.records, types, left)),
        )
    superfluous = _superfluous_negatives(found)
    left["text without records, beyond a quarter of all"] += len(superfluous)
    return [one for key, one in found.items() if key not in superfluous], +left


def _superfluous_negatives(found: Mapping[str, Found]) -> set[str]:
    """The keys of texts without records for which a quarter has no room, drawn by their hashes."""
    negatives = sorted((key for key, one in found.items() if not one.records), key=share)
    largest = LARGEST_SHARE_OF_NEGATIVES
    room = int((len(found) - len(negatives)) * largest / (1 - largest))
    return set(negatives[room:])


def _named(records: Iterable[Record], types: Types, left: Counter[str]) -> Iterator[Record]:
    for record in records:
        if record.frame not in types:
            left[f"record of the type {record.frame}"] += 1
            continue
        slots = (FilledSlot(slot=types[one.slot].name, filler=one.filler) for one in record.slots)
        yield Record(frame=types[record.frame].name, filler=record.filler, slots=tuple(slots))


def tagged(place: str, tokens: Sequence[str], tags: Sequence[str], spacing: Spacing = "natural") -> Draft:
    """A draft from tokens and their tags, in any scheme that `decode_tags` knows."""
    joined = join_tokens(tokens, spacing)
    records = [
        entity(label, joined.text, joined.span(start, end)) for label, (start, end) in decode_tags(tags)
    ]
    return Draft(place, joined.text, tuple(records))


def without(draft: Draft, pattern: re.Pattern[str]) -> Draft:
    """The draft without the characters that the pattern matches; records that lose all of theirs go too."""
    moved: list[int] = []
    kept: list[str] = []
    matches = iter(pattern.finditer(draft.text))
    match = next(matches, None)
    for index, character in enumerate(draft.text):
        while match is not None and match.end() <= index:
            match = next(matches, None)
        moved.append(len(kept))
        if match is None or index < match.start():
            kept.append(character)
    moved.append(len(kept))
    return moved_to(draft, "".join(kept), lambda offset: moved[offset])


def moved_to(draft: Draft, text: str, move: Callable[[int], int]) -> Draft:
    """The draft with another text, in which every offset has moved; an emptied record is left out."""

    def moved_filler(filler: Filler) -> Filler:
        return filler_at(text, (move(filler.start), move(filler.end)))

    def is_lost(record: Record) -> bool:
        return any(move(one.start) >= move(one.end) for one in record.fillers())

    kept = tuple(map_fillers(record, moved_filler) for record in draft.records if not is_lost(record))
    return _with_records(replace(draft, text=text), kept)


def _with_records(draft: Draft, records: Sequence[Record]) -> Draft:
    """The draft with fewer records, which it counts."""
    lost = ["record without a character"] * (len(draft.records) - len(records))
    return replace(draft, records=tuple(records), changes=(*draft.changes, *lost))


def natural(draft: Draft, spacing: Spacing = "natural") -> Draft:
    """The draft in running text: single blanks for any gap, and none where English has none."""
    draft = without(draft, re.compile(r"\A\s+|\s+\Z|(?<=\s)\s+"))
    text, records = respaced(_GAP.sub(" ", draft.text), map(_with_blanks, draft.records), spacing)
    return replace(draft, text=text, records=records)


def _with_blanks(record: Record) -> Record:
    return map_fillers(record, lambda one: one.model_copy(update={"text": _GAP.sub(" ", one.text)}))


def trimmed(draft: Draft, ends: str = " \t\n") -> Draft:
    """The draft with no such characters at the ends of its fillers; what is empty then is left out."""

    def trim(filler: Filler) -> Filler:
        start = filler.start + len(filler.text) - len(filler.text.lstrip(ends))
        return filler_at(draft.text, (start, start + len(filler.text.strip(ends))))

    whole = [one for one in draft.records if all(filler.text.strip(ends) for filler in one.fillers())]
    return _with_records(draft, [map_fillers(record, trim) for record in whole])


def stretches(
    draft: Draft, *, max_sentences: int, max_characters: int, ends: Iterable[int] | None = None
) -> Iterator[Draft]:
    """The draft in pieces of some sentences each, cut nowhere within a record.

    Args:
        draft: a text of any length.
        max_sentences: in a piece; more only where records reach over their ends.
        max_characters: a sentence more is taken as long as the piece stays within so many.
        ends: where sentences end; by default as `sentence_ends` finds them.
    """
    spans = [one.span for record in draft.records for one in record.fillers()]
    start = last = count = 0
    for end in (*(sentence_ends(draft.text) if ends is None else ends), len(draft.text)):
        if any(first < end < behind for first, behind in spans) or end == last:
            continue
        if count and (count == max_sentences or end - start > max_characters):
            yield from _piece(draft, start, last)
            start, count = last, 0
        last, count = end, count + 1
    yield from _piece(draft, start, last)


def _piece(draft: Draft, start: int, end: int) -> Iterator[Draft]:
    text = draft.text[start:end]
    shift = start + len(text) - len(text.lstrip())
    text = text.strip()
    if text:
        inside = [
            record for record in draft.records if all(start <= one.start < end for one in record.fillers())
        ]
        moved = (
            map_fillers(one, lambda filler: filler_at(text, (filler.start - shift, filler.end - shift)))
            for one in inside
        )
        yield replace(draft, text=text, records=tuple(moved))
