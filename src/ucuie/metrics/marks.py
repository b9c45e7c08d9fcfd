"""Right or wrong, for every predicted element alone: what the score of an element is to be measured by.

The rules are those of the scorer `offset`: exact types and spans, and every gold element makes one prediction
right. A record is right with all its slots, a slot where it hangs on the right text.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ucuie.metrics.counts import Element
from ucuie.metrics.elements import linked_arguments, mentions, span_key, whole_records
from ucuie.schema import ELEMENT_KINDS, Capability, ElementKind, Example, Record, Task


@dataclass(frozen=True)
class Mark:
    """A predicted element with the verdict on it.

    Args:
        kind: whether a record, a filler or a slot.
        label: its frame, or frame and slot.
        score: as it was predicted; None without one.
        is_right: whether the gold has it.
    """

    kind: ElementKind
    label: str
    score: float | None
    is_right: bool


def mark_elements(example: Example, predicted: Sequence[Record]) -> list[Mark]:
    """A mark for each record, frame filler and slot filler that was predicted, kind by kind."""
    marks = []
    for kind in ELEMENT_KINDS:
        unmatched = Counter(element for element, _ in _scored(kind, example.task, example.records))
        for element, score in _scored(kind, example.task, predicted):
            is_right = unmatched[element] > 0
            unmatched[element] -= 1
            marks.append(Mark(kind, element[0], score, is_right))
    return marks


def _scored(
    kind: ElementKind, task: Task | Capability, records: Sequence[Record]
) -> Iterator[tuple[Element, float | None]]:
    """The elements of a kind, each with its score."""
    elements: Sequence[Element]
    if kind == "record" and task == "judging":
        elements = [
            (record.frame, frozenset(filled.slot for filled in record.slots)) for record in records
        ]  # without text there is nothing else to be right about
    elif kind == "record":
        elements = whole_records(records, span_key)
    elif kind == "filler":
        elements = mentions(records, span_key)
    else:
        elements = linked_arguments(records, span_key)
    return zip(elements, _scores(kind, records), strict=True)


def _scores(kind: ElementKind, records: Sequence[Record]) -> list[float | None]:
    if kind == "record":
        return [record.score for record in records]
    if kind == "filler":
        return [record.filler.score for record in records if record.filler is not None]
    return [filled.filler.score for record in records for filled in record.slots if filled.filler is not None]
