"""Scores of many texts: micro averages per data set and over all, and the mean over data sets.

Texts with gold records only, predictions made with gold triggers and types made coarser are examples and
predictions like any others: `views` makes them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ucuie.errors import ConfigError, did_you_mean, show
from ucuie.language.align import align
from ucuie.language.linearize import order_records, without_offsets
from ucuie.metrics.counts import Counts, LabelCounts
from ucuie.metrics.scorers import SCORERS, Scorer
from ucuie.schema import Capability, Example, Record, Task

ALL = "all"
"""Instead of a scorer's name: every one."""
HEADLINE_ROWS = ("NER", "RE boundary", "ED", "EAE pooled", "ABSA")
"""Of the default scorer: the rows whose mean is the one number for a task."""


@dataclass(frozen=True)
class RowScore:
    """One row of one data set, such as ED on casie."""

    dataset: str
    task: Task | Capability
    row: str
    labels: LabelCounts

    @property
    def counts(self) -> Counts:
        """The sum over all labels."""
        return sum(self.labels.values(), Counts())


@dataclass(frozen=True)
class Report:
    """The scores of some predictions under one scorer, which every number should be named with."""

    scorer: str
    scores: tuple[RowScore, ...]

    @property
    def rows(self) -> tuple[tuple[Task | Capability, str], ...]:
        """Every (task, row) that was scored."""
        return tuple(dict.fromkeys((score.task, score.row) for score in self.scores))

    def of(self, row: str, *, task: Task | Capability | None = None) -> tuple[RowScore, ...]:
        """The scores of a row, one for each data set; of one task where several have that row."""
        return tuple(score for score in self.scores if score.row == row and task in (None, score.task))

    def micro(self, row: str, *, task: Task | Capability | None = None) -> Counts:
        """The counts of a row over all data sets together."""
        return sum((score.counts for score in self.of(row, task=task)), Counts())

    def mean_f1(self, row: str, *, task: Task | Capability | None = None) -> float:
        """The unweighted mean over data sets of the F1 of a row, in per cent; 0 without any."""
        scores = self.of(row, task=task)
        return sum(score.counts.f1 for score in scores) / len(scores) if scores else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for `report.json`; scores in per cent."""
        return {
            "scorer": self.scorer,
            "rows": [
                {
                    "task": task,
                    "row": row,
                    "mean_f1": self.mean_f1(row, task=task),
                    "micro": _numbers(self.micro(row, task=task)),
                    "datasets": [
                        {
                            "dataset": score.dataset,
                            **_numbers(score.counts),
                            "labels": {label: _numbers(counts) for label, counts in score.labels.items()},
                        }
                        for score in self.of(row, task=task)
                    ],
                }
                for task, row in self.rows
            ],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Report":
        """The report that `to_dict` made plain.

        Raises:
            LookupError, TypeError, AttributeError: it is another value.
        """
        scores = []
        for row in plain["rows"]:
            for found in row["datasets"]:
                labels = {
                    label: Counts(counts["gold"], counts["predicted"], counts["matched"])
                    for label, counts in found["labels"].items()
                }
                scores.append(RowScore(found["dataset"], row["task"], row["row"], labels))
        return cls(plain["scorer"], tuple(scores))


def score(
    examples: Iterable[Example], predictions: Iterable[Sequence[Record]], *, scorer: str = "offset"
) -> Report:
    """The agreement with the gold of predictions, one sequence of records for each example.

    Raises:
        ConfigError: there is no such scorer.
        ValueError: there are more examples than predictions, or fewer.
    """
    scored = scorer_of(scorer)
    sums: dict[tuple[str, Task | Capability, str], dict[str, Counts]] = {}
    for example, predicted in zip(examples, predictions, strict=True):
        for row, labels in scored(example, predicted).items():
            total = sums.setdefault((example.dataset, example.task, row), {})
            for label, counts in labels.items():
                total[label] = total.get(label, Counts()) + counts
    return Report(scorer, tuple(RowScore(*place, labels) for place, labels in sums.items()))


def scorer_names(scorer: str) -> tuple[str, ...]:
    """The scorer of that name, or every one for "all".

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    if scorer == ALL:
        return tuple(SCORERS)
    scorer_of(scorer, known=(*SCORERS, ALL))
    return (scorer,)


def scorer_of(name: str, *, known: Collection[str] = SCORERS) -> Scorer:
    """The scorer of that name; a ConfigError names the nearest of those known where there is none."""
    if name not in SCORERS:
        raise ConfigError(f"no scorer {show(name)}{did_you_mean(name, known)}")
    return SCORERS[name]


def placing_ceiling(examples: Iterable[Example]) -> Report:
    """The scores of a perfect model under `offset` if it wrote strings: gold, placed by `align`."""
    examples = list(examples)
    ordered = (order_records(example.records, example.schema) for example in examples)
    placed = [
        align([*map(without_offsets, records)], example.text, example.schema).records
        for records, example in zip(ordered, examples, strict=True)
    ]
    return replace(score(examples, placed), scorer="placing ceiling")


def _numbers(counts: Counts) -> dict[str, float]:
    return {"precision": counts.precision, "recall": counts.recall, "f1": counts.f1, **asdict(counts)}
