"""From drafts, which are texts with records in a corpus's own labels, to the examples of a source.

A corpus says what its labels mean in a table of types, one `label | name | description` a line; labels that
the table does not have are left out, with a count.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from making.sources.mending import mended
from making.sources.numbering import Examples, Found, numbered, share
from ucuie.data import Fault, normalised_text
from ucuie.data.draft import Draft
from ucuie.schema import FilledSlot, Frame, Record, Slot

Readings = Iterable[Draft | Fault]
Types = Mapping[str, Frame]
"""The frame that a label of the corpus stands for. Roles stand there as frames too, for their names."""

LARGEST_SHARE_OF_NEGATIVES = 0.25
MAX_CHARACTERS = 700
"""Longer texts are lists and tables that have lost their form."""


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
        reading = reading if isinstance(reading, Fault) else _checked(reading)
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


def _checked(draft: Draft) -> Draft | Fault:
    if len(draft.text) > MAX_CHARACTERS:
        return Fault(draft.place, f"text of more than {MAX_CHARACTERS} characters")
    if not draft.records and not any(map(str.isalpha, draft.text)):
        return Fault(draft.place, "text without records or a letter")
    return mended(draft)


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
