"""All mistakes: every filler that was missed, invented, or found with something about it wrong.

`mark_elements` says of every predicted element alone if it is right, so that its score can be measured.

A finding is one filler in its place: the text that evokes a frame, or the filler of one of its slots. Gold
and predicted findings of a text are paired, the best agreement first, and each is used once:

    right            everything is equal, the event or relation that a slot belongs to included
    unlinked         frame, slot and span are right, but it belongs to another trigger or partner
    wrong slot       frame and span are right
    wrong type       the span is right, of slots also the slot
    wrong boundary   frame and slot are right, the spans overlap
    missed           gold without a partner
    spurious         a prediction without a partner
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ucuie.metrics.counts import Element, linked_arguments, mentions, span_key, whole_records
from ucuie.schema import ELEMENT_KINDS, Capability, ElementKind, Example, Filler, Record, Span, Task

Kind = Literal["unlinked", "wrong slot", "wrong type", "wrong boundary", "missed", "spurious"]
KINDS: tuple[Kind, ...] = get_args(Kind)

NOTHING = "(nothing)"


@dataclass(frozen=True)
class Finding:
    """A filler in its place.

    Args:
        slot: None for the text that evokes the frame.
        owner: the rest of the record: of events the trigger's span, of relations all fillers.
    """

    frame: str
    slot: str | None
    filler: Filler
    owner: Hashable

    @property
    def label(self) -> str:
        """Frame, or frame and slot."""
        return self.frame if self.slot is None else f"{self.frame} / {self.slot}"

    @property
    def span(self) -> Span:
        """The place of the filler in the text."""
        return self.filler.span

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain values; its span counts in the example's text."""
        filler = self.filler
        return {"label": self.label, "text": filler.text, "start": filler.start, "end": filler.end}


@dataclass(frozen=True)
class Mistake:
    """A pair that does not agree, or a finding without a partner."""

    kind: Kind
    example: Example
    gold: Finding | None
    predicted: Finding | None

    @property
    def labels(self) -> tuple[str, str]:
        """The gold and the predicted label."""
        return _label(self.gold), _label(self.predicted)

    def to_dict(self) -> dict[str, Any]:
        """The mistake as plain values."""
        return {
            "kind": self.kind,
            "id": self.example.id,
            "gold": self.gold and self.gold.to_dict(),
            "predicted": self.predicted and self.predicted.to_dict(),
        }


@dataclass(frozen=True)
class Mistakes:
    """All mistakes of some predictions, in the order of the texts.

    Args:
        right: findings that are right.
        mistakes: the others.
        confusion: (gold label, predicted label) with how often, right ones included.
    """

    right: int
    mistakes: tuple[Mistake, ...]
    confusion: Counter[tuple[str, str]]

    @property
    def kinds(self) -> dict[Kind, int]:
        """The number of mistakes of each kind."""
        found = Counter(mistake.kind for mistake in self.mistakes)
        return {kind: found[kind] for kind in KINDS}

    @property
    def confusions(self) -> list[tuple[tuple[str, str], int]]:
        """(gold label, predicted label) with how often, the most frequent first; right ones are left out."""
        wrong = Counter({pair: count for pair, count in self.confusion.items() if pair[0] != pair[1]})
        return sorted(wrong.items(), key=lambda item: (-item[1], item[0]))

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "right": self.right,
            "kinds": self.kinds,
            "confusion": [
                {"gold": gold, "predicted": predicted, "count": count}
                for (gold, predicted), count in sorted(self.confusion.items())
            ],
            "mistakes": [mistake.to_dict() for mistake in self.mistakes],
        }


def find_mistakes(examples: Iterable[Example], predictions: Iterable[Sequence[Record]]) -> Mistakes:
    """The mistakes of predictions, one sequence of records for each example.

    Raises:
        ValueError: there are more examples than predictions, or fewer.
    """
    right = 0
    mistakes: list[Mistake] = []
    confusion: Counter[tuple[str, str]] = Counter()
    for example, predicted in zip(examples, predictions, strict=True):
        for kind, gold, found in _pairs([*_findings(example.records)], [*_findings(predicted)]):
            confusion[_label(gold), _label(found)] += 1
            if kind is None:
                right += 1
            else:
                mistakes.append(Mistake(kind, example, gold, found))
    return Mistakes(right, tuple(mistakes), confusion)


def _label(finding: Finding | None) -> str:
    return NOTHING if finding is None else finding.label


def _findings(records: Iterable[Record]) -> Iterator[Finding]:
    for record in records:
        if record.filler is not None:
            yield Finding(record.frame, None, record.filler, None)
        filled = [(one.slot, one.filler) for one in record.slots if one.filler is not None]
        partners = frozenset((slot, filler.span) for slot, filler in filled)
        for slot, filler in filled:
            yield Finding(record.frame, slot, filler, record.filler.span if record.filler else partners)


_Key = Callable[[Finding], Hashable]
_Pair = tuple[Kind | None, Finding | None, Finding | None]

# A rule pairs findings with equal keys. Slots and evoking texts never meet: `slot is None` is in every key.
_RULES: tuple[tuple[Kind | None, _Key], ...] = (
    (None, lambda finding: (finding.frame, finding.slot, finding.span, finding.owner)),
    ("unlinked", lambda finding: (finding.frame, finding.slot, finding.span)),
    ("wrong slot", lambda finding: (finding.frame, finding.slot is None, finding.span)),
    ("wrong type", lambda finding: (finding.slot, finding.span)),
)


def _pairs(golds: list[Finding], predictions: list[Finding]) -> Iterator[_Pair]:
    for kind, key in _RULES:
        waiting: dict[Hashable, list[Finding]] = defaultdict(list)
        for finding in predictions:
            waiting[key(finding)].append(finding)
        unpaired = []
        for gold in golds:
            partners = waiting[key(gold)]
            if partners:
                yield kind, gold, partners.pop(0)
            else:
                unpaired.append(gold)
        golds, predictions = unpaired, [finding for rest in waiting.values() for finding in rest]
    for gold in golds:
        partner = max(predictions, key=lambda finding: _overlap(gold, finding), default=None)
        if partner is None or not _overlap(gold, partner):
            yield "missed", gold, None
            continue
        predictions.remove(partner)
        yield "wrong boundary", gold, partner
    for finding in predictions:
        yield "spurious", None, finding


def _overlap(gold: Finding, predicted: Finding) -> int:
    """Characters that findings of one label share."""
    if gold.label != predicted.label:
        return 0
    return max(0, min(gold.span[1], predicted.span[1]) - max(gold.span[0], predicted.span[0]))


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
    """A mark for each record, frame filler and slot filler that was predicted, kind by kind.

    The rules are those of the scorer `offset`: exact types and spans, and every gold element makes one
    prediction right. A record is right with all its slots, a slot where it hangs on the right text.
    """
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
