"""The certainty of a score: intervals from the texts of one run, and spread over the trials of several."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

from ucuie.metrics.counts import Counts
from ucuie.metrics.report import Report, scorer_of
from ucuie.schema import Capability, Example, Record, Task

_Place = tuple[Task | Capability, str, str]
"""(task, row, data set)."""


@dataclass(frozen=True)
class Interval:
    """The F1 of a row on all texts, each once, and the ends of its interval, in per cent.

    `dataset` is None for the unweighted mean over data sets.
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
        level: confidence, between 0 and 1.
        resamples: how often is drawn, at least once.
        seed: makes the draws repeatable.

    Raises:
        ConfigError: there is no such scorer.
        ValueError: there are more examples than predictions, or fewer.
    """
    intervals: list[Interval] = []
    drawn: dict[tuple[Task | Capability, str], list[tuple[float, NDArray[np.float64]]]] = {}
    for place, counts in sorted(_counts_by_text(examples, predictions, scorer).items()):
        generator = np.random.default_rng([seed, len(intervals)])
        # How often each text is drawn says as much as the list of draws, and makes the sum a product.
        sums = [_drawn(generator, len(counts)) @ counts for _ in range(resamples)]
        f1, scores = float(_f1(counts.sum(axis=0))), _f1(np.stack(sums))
        drawn.setdefault(place[:2], []).append((f1, scores))
        intervals.append(Interval(*place, f1, *_ends(scores, level)))
    for (task, row), of_datasets in drawn.items():
        if len(of_datasets) > 1:
            f1s, resampled = zip(*of_datasets, strict=True)
            mean = np.mean(resampled, axis=0)
            intervals.append(Interval(task, row, None, fmean(f1s), *_ends(mean, level)))
    return tuple(intervals)


@dataclass(frozen=True)
class Difference:
    """The points of mean F1 by which one system is better than another, and the ends of its interval."""

    mean: float
    low: float
    high: float

    @property
    def is_significant(self) -> bool:
        """True where the interval leaves 0 out."""
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
    """The points by which the first of two systems is better, with a percentile interval.

    The F1 of a trial is the unweighted mean over data sets and rows. A resample draws texts, the same for
    both systems, and trials, for each system its own; so it counts both what texts and what seeds do.

    Args:
        examples: gold.
        first: of each trial one sequence of records for each example.
        second: those of the other system; the numbers of trials may differ.
        rows: the names of the rows that count, such as NER.
        scorer: a name in `SCORERS`.
        level: confidence, between 0 and 1.
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
    shares = [_drawn(generator, len(trials), resamples) for trials in systems]
    means, drawn = np.zeros(2), np.zeros((2, resamples))
    for place in places:
        times = _drawn(generator, len(systems[0][0][place]), resamples)
        for index, (trials, share) in enumerate(zip(systems, shares, strict=True)):
            counts = [trial[place] for trial in trials]
            means[index] += np.mean([_f1(one.sum(axis=0)) for one in counts])
            scores = np.stack([_f1(times @ one) for one in counts], axis=1)
            drawn[index] += (scores * share).sum(axis=1) / len(trials)
    difference = (drawn[0] - drawn[1]) / len(places)
    return Difference(float(means[0] - means[1]) / len(places), *_ends(difference, level))


def _counts_by_text(
    examples: Iterable[Example], predictions: Iterable[Sequence[Record]], scorer: str
) -> dict[_Place, NDArray[np.int64]]:
    """Gold, predicted and matched elements of each text, (N, 3), for every row and data set."""
    scored = scorer_of(scorer)
    counts: dict[_Place, list[tuple[int, int, int]]] = {}
    for example, predicted in zip(examples, predictions, strict=True):
        for row, labels in scored(example, predicted).items():
            total = sum(labels.values(), Counts())
            numbers = (total.gold, total.predicted, total.matched)
            counts.setdefault((example.task, row, example.dataset), []).append(numbers)
    return {place: np.array(of_texts, np.int64) for place, of_texts in counts.items()}


def _drawn(generator: np.random.Generator, size: int, resamples: int | None = None) -> NDArray[np.int64]:
    """The times that each of some things is drawn in as many draws, (size,) or (resamples, size)."""
    return generator.multinomial(size, np.full(size, 1 / size), resamples)


def _ends(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    low, high = map(float, np.percentile(values, (50 * (1 - level), 50 * (1 + level))))
    return low, high


def _f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    gold, predicted, matched = np.moveaxis(counts, -1, 0)
    f1: NDArray[np.float64] = 200 * matched / np.maximum(gold + predicted, 1)
    return f1


@dataclass(frozen=True)
class TrialScore:
    """The F1 of one row in each trial of an experiment, in per cent.

    `dataset` is None for the unweighted mean over data sets.
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
