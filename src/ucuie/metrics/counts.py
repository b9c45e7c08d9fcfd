"""How many elements there are in the gold, in the predictions and in both."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

Element = tuple[str, Hashable]
"""What is counted: its label, and all else that has to be equal in gold and prediction."""


@dataclass(frozen=True)
class Counts:
    """Numbers of elements; those of several texts add up to a micro average.

    The scores are in per cent; 0/0 is 0. They pass 100 only under `knowcoder-em`, where one gold element
    can be matched by several predictions.
    """

    gold: int = 0
    predicted: int = 0
    matched: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.gold + other.gold, self.predicted + other.predicted, self.matched + other.matched)

    @property
    def precision(self) -> float:
        """How much of what was predicted is right, in per cent."""
        return 100 * self.matched / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """How much of the gold was predicted, in per cent."""
        return 100 * self.matched / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, in per cent."""
        total = self.gold + self.predicted
        return 200 * self.matched / total if total else 0.0


LabelCounts = Mapping[str, Counts]
"""The counts of each label; their sum is the row's."""

RowCounts = Mapping[str, LabelCounts]
"""The counts of every row of a report, such as NER or ED."""


def count_multiset(gold: Iterable[Element], predicted: Iterable[Element]) -> LabelCounts:
    """Each gold element can be matched once: two predictions of one gold element are one match."""
    golds, predictions = Counter(gold), Counter(predicted)
    return _by_label(golds, predictions, golds & predictions)


def count_set(gold: Iterable[Element], predicted: Iterable[Element]) -> LabelCounts:
    """Equal elements count once, in the gold and in the predictions."""
    return count_multiset(set(gold), set(predicted))


def count_members(gold: Iterable[Element], predicted: Iterable[Element]) -> LabelCounts:
    """Every prediction that is in the gold is a match, however often it was predicted."""
    golds, predictions = Counter(gold), Counter(predicted)
    matched = Counter({element: count for element, count in predictions.items() if element in golds})
    return _by_label(golds, predictions, matched)


def _by_label(gold: Counter[Element], predicted: Counter[Element], matched: Counter[Element]) -> LabelCounts:
    golds, predictions, matches = map(_label_totals, (gold, predicted, matched))
    return {
        label: Counts(golds[label], predictions[label], matches[label])
        for label in sorted(golds.keys() | predictions.keys())
    }


def _label_totals(elements: Counter[Element]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for (label, _), count in elements.items():
        totals[label] += count
    return totals
