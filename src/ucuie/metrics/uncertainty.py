"""How sure a score is: confidence intervals from the texts of one run, spread over the trials of several."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

from ucuie.metrics.report import Report, check_scorer
from ucuie.metrics.scorers import SCORERS
from ucuie.schema import Capability, Example, Record, Task

_RESAMPLES_AT_ONCE = 64
_Place = tuple[Task | Capability, str, str]
"""(task, row, data set)."""


@dataclass(frozen=True)
class Interval:
    """Between what the F1 of a row lies, in per cent.

    Args:
        task: the task that the row belongs to.
        row: such as ED.
        dataset: one, or None for the unweighted mean over data sets.
        f1: on all texts, each once, in per cent.
        low: lower end, in per cent.
        high: upper end, in per cent.
    """

    task: Task | Capability
    row: str
    dataset: str | None
    f1: float
    low: float
    high: float


def bootstrap(
    examples: Iterable[Example],
    predictions: Iterable[Sequence[Record]],
    *,
    scorer: str = "offset",
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[Interval, ...]:
    """Percentile intervals of the F1 of every row, by drawing as many texts again, with repetition.

    Each data set is drawn from by itself.

    Args:
        examples: gold.
        predictions: one sequence of records for each example.
        scorer: a name in `SCORERS`.
        level: of confidence, between 0 and 1.
        resamples: how often is drawn.
        seed: makes the draws repeatable.

    Raises:
        ConfigError: there is no such scorer.
        ValueError: there are more examples than predictions, or fewer.
    """
    tails = (50 * (1 - level), 50 * (1 + level))
    intervals: list[Interval] = []
    drawn: dict[tuple[Task | Capability, str], list[tuple[float, NDArray[np.float64]]]] = {}
    for place, counts in sorted(_counts_by_text(examples, predictions, scorer).items()):
        task, row, dataset = place
        f1 = float(_f1(counts.sum(axis=0)))
        scores = _resampled(counts, resamples, np.random.default_rng([seed, len(intervals)]))
        drawn.setdefault((task, row), []).append((f1, scores))
        intervals.append(Interval(task, row, dataset, f1, *map(float, np.percentile(scores, tails))))
    for (task, row), of_datasets in drawn.items():
        if len(of_datasets) > 1:
            mean = np.mean([scores for _, scores in of_datasets], axis=0)
            f1 = fmean(f1 for f1, _ in of_datasets)
            intervals.append(Interval(task, row, None, f1, *map(float, np.percentile(mean, tails))))
    return tuple(intervals)


@dataclass(frozen=True)
class Difference:
    """By how much one system is better than another, in points of mean F1.

    Args:
        mean: over the trials of each.
        low: lower end, in per cent.
        high: upper end, in per cent.
    """

    mean: float
    low: float
    high: float

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


def paired_difference(
    examples: Sequence[Example],
    first: Sequence[Sequence[Sequence[Record]]],
    second: Sequence[Sequence[Sequence[Record]]],
    *,
    rows: Sequence[str],
    scorer: str = "offset",
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """How much better the first of two systems is than the second, with a percentile interval.

    The F1 of a trial is the unweighted mean over data sets and rows. A resample draws texts, the same for
    both systems, and trials, for each system its own; so it counts both what texts and what seeds do.

    Args:
        examples: gold.
        first: of each trial one sequence of records for each example.
        second: reports of the other; the numbers of trials may differ.
        rows: such as NER, that count.
        scorer: a name in `SCORERS`.
        level: of confidence, between 0 and 1.
        resamples: how often is drawn.
        seed: makes the draws repeatable.

    Raises:
        ConfigError: there is no such scorer.
        ValueError: there are more examples than predictions, or fewer; or none of the rows.
    """
    generator = np.random.default_rng(seed)
    systems = [
        [_counts_by_text(examples, predictions, scorer) for predictions in trials]
        for trials in (first, second)
    ]
    places = [place for place in sorted(systems[0][0]) if place[1] in rows]
    if not places:
        raise ValueError(f"no example has a row of {', '.join(rows)}")
    shares = [generator.multinomial(len(one), np.full(len(one), 1 / len(one)), resamples) for one in systems]
    means, drawn = np.zeros(2), np.zeros((2, resamples))
    for place in places:
        size = len(systems[0][0][place])
        times = generator.multinomial(size, np.full(size, 1 / size), resamples)
        for index, (trials, share) in enumerate(zip(systems, shares, strict=True)):
            counts = [trial[place] for trial in trials]
            means[index] += np.mean([_f1(one.sum(axis=0)) for one in counts])
            scores = np.stack([_f1(times @ one) for one in counts], axis=1)
            drawn[index] += (scores * share).sum(axis=1) / len(trials)
    difference = (drawn[0] - drawn[1]) / len(places)
    low, high = map(float, np.percentile(difference, (50 * (1 - level), 50 * (1 + level))))
    return Difference(float(means[0] - means[1]) / len(places), low, high)


def _counts_by_text(
    examples: Iterable[Example], predictions: Iterable[Sequence[Record]], scorer: str
) -> dict[_Place, NDArray[np.int64]]:
    """Gold, predicted and matched elements of each text, (N, 3), for every row and data set."""
    check_scorer(scorer)
    counts: dict[_Place, list[tuple[int, int, int]]] = {}
    for example, predicted in zip(examples, predictions, strict=True):
        for row, labels in SCORERS[scorer](example, predicted).items():
            of_text = labels.values()
            counts.setdefault((example.task, row, example.dataset), []).append(
                (
                    sum(one.gold for one in of_text),
                    sum(one.predicted for one in of_text),
                    sum(one.matched for one in of_text),
                )
            )
    return {place: np.array(of_texts, np.int64) for place, of_texts in counts.items()}


def _resampled(
    counts: NDArray[np.int64], resamples: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """The F1 of each resample, (resamples,)."""
    size = len(counts)
    sums = []
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        rows = min(_RESAMPLES_AT_ONCE, resamples - start)
        # How often each text is drawn says as much as the list of draws, and makes the sum one product.
        times = generator.multinomial(size, np.full(size, 1 / size), size=rows)
        sums.append(times @ counts)
    return _f1(np.concatenate(sums))


def _f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    gold, predicted, matched = np.moveaxis(counts, -1, 0)
    f1: NDArray[np.float64] = 200 * matched / np.maximum(gold + predicted, 1)
    return f1


@dataclass(frozen=True)
class TrialScore:
    """The F1 of one row over the trials of an experiment, in per cent.

    Args:
        task: the task that the row belongs to.
        row: such as ED.
        dataset: one, or None for the unweighted mean over data sets.
        f1s: of each trial, in their order.
    """

    task: Task | Capability
    row: str
    dataset: str | None
    f1s: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over trials."""
        return fmean(self.f1s)

    @property
    def deviation(self) -> float:
        """The sample standard deviation (n - 1); 0 of a single trial."""
        return stdev(self.f1s) if len(self.f1s) > 1 else 0.0


def over_trials(reports: Sequence[Report]) -> tuple[TrialScore, ...]:
    """Every row of every data set, and the means over data sets, of reports of the same experiment.

    Raises:
        ValueError: the reports name different scorers, or do not all have the same rows and data sets.
    """
    if len({report.scorer for report in reports}) > 1:
        raise ValueError("the reports were made by different scorers")
    rows: dict[tuple[Task | Capability, str, str | None], list[float]] = {}
    for report in reports:
        ordered = sorted(report.scores, key=lambda score: (score.task, score.row))
        for (task, row), group in groupby(ordered, key=lambda score: (score.task, score.row)):
            scores = list(group)
            for score in scores:
                rows.setdefault((task, row, score.dataset), []).append(score.counts.f1)
            if len(scores) > 1:
                rows.setdefault((task, row, None), []).append(report.mean_f1(row, task=task))
    incomplete = [place for place, f1s in rows.items() if len(f1s) != len(reports)]
    if incomplete:
        raise ValueError(f"not every trial has {incomplete[0]}")
    return tuple(TrialScore(*place, tuple(f1s)) for place, f1s in rows.items())
