"""Right or wrong, for every predicted element alone, so that its score can be measured.

The rules are those of the scorer `offset`: exact types and spans, and every gold element makes one prediction
right. A record is right with all its slots, a slot where it hangs on the right text.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ucuie.metrics.counts import Element, linked_arguments, mentions, span_key, whole_records
from ucuie.schema import ELEMENT_KINDS, Capability, ElementKind, Example, Record, Task


@dataclass(frozen=True)
class Mark:
    """A predicted element with the verdict on it.

    Args:
        label: its frame, or frame and slot.
        score: as it was predicted; None without one.
        is_right: the gold has it, and no earlier prediction took it.
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
    elements: list[Element]
    if kind == "record":
        elements, scores = whole_records(records, span_key), [record.score for record in records]
        if task == "judging":  # without text there is nothing else to be right about
            elements = [(record.frame, frozenset(one.slot for one in record.slots)) for record in records]
    elif kind == "filler":
        elements = mentions(records, span_key)
        scores = [record.filler.score for record in records if record.filler is not None]
    else:
        elements = linked_arguments(records, span_key)
        slots = [filled for record in records for filled in record.slots]
        scores = [filled.filler.score for filled in slots if filled.filler is not None]
    return zip(elements, scores, strict=True)
