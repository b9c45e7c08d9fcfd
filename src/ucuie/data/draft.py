"""What a reader yields: a `Draft` (a text with records in the source's own label names) or a `Fault`.

A draft knows neither its data set, id, split nor schema; `labels` adds those and renames the labels.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ucuie.errors import show
from ucuie.schema import FilledSlot, Filler, Record, Span


@dataclass(frozen=True)
class Fault:
    """Something in a source that cannot become part of an example, and why."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}   {self.reason}"


@dataclass(frozen=True)
class Draft:
    """A text with its records, as the source has them.

    Args:
        place: file and line, or item, for messages.
        text: the text the spans of the records count in.
        records: frames and slots named as in the source.
        offered: the source's names of the labels the text was annotated for; None means all of the set.
        changes: one sentence for each decision that altered the source's annotation; they are counted.

    Raises:
        ValueError: the text or a label is no string.
    """

    place: str
    text: str
    records: tuple[Record, ...]
    offered: tuple[str, ...] | None = None
    changes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        strings: tuple[object, ...] = (self.text, *(self.offered or ()))
        for value in strings:
            if not isinstance(value, str):
                raise ValueError(f"{show(value)} stands where a string should be")


Readings = Iterator[Draft | Fault]


def filler_at(text: str, span: Span) -> Filler:
    """The filler that is `text[start:end]`.

    Raises:
        ValueError: the range is empty or not within the text.
    """
    start, end = span
    if not 0 <= start < end <= len(text):
        raise ValueError(f"{start}:{end} is no range of the {len(text)} characters of the text")
    return Filler(text=text[start:end], start=start, end=end)


def checked_span(text: str, start: int, piece: str) -> Span:
    """The range of a piece that a source says starts there.

    Raises:
        ValueError: something else stands there.
    """
    end = start + len(piece)
    if text[start:end] != piece:
        raise ValueError(f"{show(piece)} does not stand at {start}, but {show(text[start:end])}")
    return start, end


def entity(label: str, text: str, span: Span) -> Record:
    """An entity: a frame evoked by the span, without slots."""
    return Record(frame=label, filler=filler_at(text, span))


def tuple_record(label: str, text: str, slots: Iterable[tuple[str, Span]]) -> Record:
    """A frame that no text evokes (a relation, an opinion) with its filled slots."""
    return Record(frame=label, slots=filled_slots(text, slots))


def relation(label: str, text: str, subject: Span, object_: Span) -> Record:
    """A relation between two spans."""
    return tuple_record(label, text, [("subject", subject), ("object", object_)])


def event(label: str, text: str, trigger: Span, slots: Iterable[tuple[str, Span]]) -> Record:
    """A frame evoked by its trigger, with its filled slots."""
    return Record(frame=label, filler=filler_at(text, trigger), slots=filled_slots(text, slots))


def filled_slots(text: str, slots: Iterable[tuple[str, Span]]) -> tuple[FilledSlot, ...]:
    """Slots filled by the spans, in the order given."""
    return tuple(FilledSlot(slot=slot, filler=filler_at(text, span)) for slot, span in slots)


def map_fillers(record: Record, move: Callable[[Filler], Filler]) -> Record:
    """The record with every filler replaced."""
    return Record(
        frame=record.frame,
        filler=record.filler and move(record.filler),
        slots=tuple(
            FilledSlot(slot=filled.slot, filler=filled.filler and move(filled.filler))
            for filled in record.slots
        ),
    )


def contiguous_pieces(indices: Sequence[int]) -> list[Span]:
    """Half-open ranges that cover a list of token indices: [3, 4, 7] gives [(3, 5), (7, 8)]."""
    pieces: list[Span] = []
    for index in sorted(set(indices)):
        if pieces and pieces[-1][1] == index:
            pieces[-1] = (pieces[-1][0], index + 1)
        else:
            pieces.append((index, index + 1))
    return pieces
