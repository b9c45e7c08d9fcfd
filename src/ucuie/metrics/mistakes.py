"""What went wrong: every filler that was missed, invented, or found with something about it wrong.

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

from ucuie.schema import Example, Filler, Record, Span

Kind = Literal["unlinked", "wrong slot", "wrong type", "wrong boundary", "missed", "spurious"]
KINDS: tuple[Kind, ...] = get_args(Kind)

NOTHING = "(nothing)"


@dataclass(frozen=True)
class Finding:
    """A filler in its place.

    Args:
        frame: name of the frame that was predicted or missed.
        slot: its slot; None for the text that evokes the frame.
        filler: the text and where it stands.
        owner: what else the record holds: of events the trigger's span, of relations the other fillers.
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
        return (
            NOTHING if self.gold is None else self.gold.label,
            NOTHING if self.predicted is None else self.predicted.label,
        )

    def to_dict(self) -> dict[str, Any]:
        """The mistake as plain values; spans count in the example's text."""
        return {
            "kind": self.kind,
            "id": self.example.id,
            "gold": self.gold and _plain(self.gold),
            "predicted": self.predicted and _plain(self.predicted),
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
        """How many there are of each kind."""
        found = Counter(mistake.kind for mistake in self.mistakes)
        return {kind: found[kind] for kind in KINDS}

    @property
    def confusions(self) -> list[tuple[tuple[str, str], int]]:
        """What was taken for what, the most frequent first; what is right is left out."""
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
        for kind, gold, found in _pairs(list(_findings(example.records)), list(_findings(predicted))):
            if kind is None:
                right += 1
                assert gold is not None
                confusion[gold.label, gold.label] += 1
                continue
            mistake = Mistake(kind, example, gold, found)
            mistakes.append(mistake)
            confusion[mistake.labels] += 1
    return Mistakes(right, tuple(mistakes), confusion)


def _findings(records: Iterable[Record]) -> Iterator[Finding]:
    for record in records:
        if record.filler is not None:
            yield Finding(record.frame, None, record.filler, None)
        for filled in record.slots:
            if filled.filler is not None:
                owner = _partners(record) if record.filler is None else record.filler.span
                yield Finding(record.frame, filled.slot, filled.filler, owner)


def _partners(record: Record) -> Hashable:
    return frozenset((filled.slot, filled.filler.span) for filled in record.slots if filled.filler)


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


def _plain(finding: Finding) -> dict[str, Any]:
    filler = finding.filler
    return {"label": finding.label, "text": filler.text, "start": filler.start, "end": filler.end}
