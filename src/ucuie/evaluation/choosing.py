"""The operating point of a model: the bias on ending and the threshold that do best on validation texts.

In: gold, what was found in it under each bias, and a way to fit calibrators. Out: a point, and for each data
set the F1 before and after. Knows no model.

Data sets count the same, so that a large one does not decide: each by the mean F1 of its headline rows under
the default scorer. Each task has a threshold of its own, for what a score is worth differs from task to task.
Texts that have nothing count too: a little F1 is given up where a model then finds less in them.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, starmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ucuie.evaluation.fitting import NUM_FOLDS, dealt_folds
from ucuie.extract.options import Thresholds
from ucuie.metrics import HEADLINE_ROWS, score
from ucuie.metrics.scorers import score_offset
from ucuie.model.calibration import Calibration
from ucuie.model.operating_point import OperatingPoint
from ucuie.schema import TASKS, Example, Record, Task

THRESHOLDS = tuple(hundredths / 100 for hundredths in range(100))
NEUTRAL = OperatingPoint()
"""A model ends as it was trained to, and nothing is left out."""
EQUAL_F1 = 0.05
"""Points of F1 that a report with one decimal does not show: no reason to go further away from neutral."""

F1_FOR_SILENCE = 1.0
"""Points of F1 that a task may lose so that less is found where there is nothing."""

Found = Sequence[Sequence[Record]]
"""The records of each text."""
Fit = Callable[[Sequence[Example], Found], Calibration]
"""Calibrators from gold and what was found in it, with raw scores."""


@dataclass(frozen=True)
class DatasetF1:
    """The F1 of the answers to one data set, in per cent.

    Args:
        before: at the neutral point.
        after: at the point chosen, cross-validated.
    """

    dataset: str
    num_texts: int
    before: float
    after: float


@dataclass(frozen=True)
class ChosenPoint:
    """The best point; the neutral one where no other did better on texts that it was not chosen on.

    Args:
        end_biases: the biases that it was chosen from.
        datasets: those with records in the gold, and their F1; where the neutral point stays, before and
            after are the same.
        false_finds_before: the share of texts without a record in the gold in which something is found, in
            per cent; None where every text has one.
        false_finds_after: the same share at the point chosen, cross-validated.
    """

    point: OperatingPoint
    end_biases: tuple[float, ...]
    datasets: tuple[DatasetF1, ...]
    false_finds_before: float | None
    false_finds_after: float | None

    @property
    def before(self) -> float:
        """The mean F1 over data sets at the neutral point, in per cent."""
        return _mean([one.before for one in self.datasets])

    @property
    def after(self) -> float:
        """The mean F1 over data sets at the point chosen, cross-validated, in per cent."""
        return _mean([one.after for one in self.datasets])


def choose_point(examples: Sequence[Example], found: Mapping[float, Found], fit: Fit) -> ChosenPoint:
    """The bias with the best mean F1 over data sets, and for each task the threshold that goes with it.

    Of those that are as good as the best the most neutral are taken. Where a task has texts without anything,
    its threshold may cost F1_FOR_SILENCE to find less in them. The F1 told is that of texts which the point
    has not seen: for each fold of the texts calibrators are fitted and a point is chosen on the others, then
    used on the fold.

    Args:
        examples: gold; parts of answers, such as those of the task judging, are left aside.
        found: the records of each example under each bias, with raw scores; 0 is one of the biases.
        fit: makes the calibrators by whose scores a threshold goes.
    """
    whole = [index for index, example in enumerate(examples) if example.task in TASKS]
    examples = [examples[index] for index in whole]
    found = {bias: [records[index] for index in whole] for bias, records in found.items()}
    before, false_before = _dataset_f1(examples, found[0.0]), _false_finds(examples, found[0.0])
    point, after, false_after = NEUTRAL, before, false_before
    if len(examples) >= NUM_FOLDS:
        kept = _held_out(examples, found, fit)
        held_out, false_held_out = _dataset_f1(examples, kept), _false_finds(examples, kept)
        gain = _mean(held_out.values()) - _mean(before.values())
        is_quieter = (false_held_out or 0) < (false_before or 0)
        if gain > 0 or (is_quieter and gain >= -F1_FOR_SILENCE):
            point, _ = _best(examples, found, fit)
        if point != NEUTRAL:
            after, false_after = held_out, false_held_out
    names = [example.dataset for example in examples]
    datasets = tuple(DatasetF1(name, names.count(name), before[name], after[name]) for name in before)
    return ChosenPoint(point, tuple(found), datasets, false_before, false_after)


def f1_by_threshold(examples: Sequence[Example], found: Found) -> NDArray[np.float64]:
    """The mean F1 over data sets, in per cent, of what each of THRESHOLDS keeps: an array parallel to them.

    Args:
        examples: gold of whole answers; data sets without a record are left aside.
        found: the records of each, with the scores that thresholds go by.
    """
    totals: dict[str, dict[str, NDArray[np.int64]]] = {}
    for example, records in zip(examples, found, strict=True):
        rows = totals.setdefault(example.dataset, {})
        for stretch, kept in _kept_by_threshold(records):
            for row, labels in score_offset(example, kept).items():
                if row in HEADLINE_ROWS:
                    total = rows.setdefault(row, np.zeros((2, len(THRESHOLDS)), dtype=np.int64))
                    for counts in labels.values():
                        total[:, stretch] += [[counts.matched], [counts.gold + counts.predicted]]
    by_dataset = [
        np.mean([200 * matched / np.maximum(size, 1) for matched, size in totals[name].values()], axis=0)
        for name in _datasets_with_records(examples)
    ]
    return np.mean(by_dataset, axis=0) if by_dataset else np.zeros(len(THRESHOLDS))


def false_finds_by_threshold(examples: Sequence[Example], found: Found) -> NDArray[np.int64]:
    """In how many texts without a record in the gold each of THRESHOLDS keeps one: parallel to them."""
    total = np.zeros(len(THRESHOLDS), dtype=np.int64)
    for example, records in zip(examples, found, strict=True):
        if not example.records:
            for stretch, kept in _kept_by_threshold(records):
                total[stretch] += bool(kept)
    return total


def _kept_by_threshold(records: Sequence[Record]) -> Iterator[tuple[slice, Sequence[Record]]]:
    """What is kept of some records by stretches of THRESHOLDS, which leave out the same."""
    scores = [record.score for record in records]
    scores += [filler.score for record in records for filler in record.fillers()]
    given = [one for one in scores if one is not None]
    # Where the first threshold above each score stands.
    starts = sorted({0, *np.searchsorted(THRESHOLDS, given, side="right").tolist()} - {len(THRESHOLDS)})
    for stretch in starmap(slice, pairwise([*starts, len(THRESHOLDS)])):
        yield stretch, Thresholds.of(THRESHOLDS[stretch.start]).keep(records)[0]


def _best(
    examples: Sequence[Example], found: Mapping[float, Found], fit: Fit
) -> tuple[OperatingPoint, Calibration]:
    """The best point on some texts, and the calibrators of its bias, fitted to the same texts."""
    calibrations = {bias: fit(examples, of_texts) for bias, of_texts in found.items()}
    f1: dict[float, float] = {}
    thresholds: dict[float, dict[Task, float]] = {}
    for bias, of_texts in found.items():
        by_task = _by_task(examples, of_texts, calibrations[bias])
        best = {task: _threshold(*texts) for task, texts in by_task.items()}
        sets = {task: len(_datasets_with_records(texts[0])) for task, texts in by_task.items()}
        f1[bias] = sum(best[task][1] * sets[task] for task in best) / max(sum(sets.values()), 1)
        thresholds[bias] = {task: threshold for task, (threshold, _) in best.items()}
    least = max(f1.values()) - EQUAL_F1
    bias = min((one for one in f1 if f1[one] >= least), key=abs)
    is_neutral = not any(thresholds[bias].values())
    return OperatingPoint(bias, 0.0 if is_neutral else thresholds[bias]), calibrations[bias]


def _by_task(
    examples: Sequence[Example], found: Found, calibration: Calibration
) -> dict[Task, tuple[list[Example], list[Sequence[Record]]]]:
    """The texts of each task, and what was found in them with calibrated scores."""
    by_task: dict[Any, tuple[list[Example], list[Sequence[Record]]]] = {}
    for example, records in zip(examples, found, strict=True):
        texts, calibrated = by_task.setdefault(example.task, ([], []))
        texts.append(example)
        calibrated.append(calibration.apply(records, example.task))
    return by_task


def _threshold(examples: Sequence[Example], found: Found) -> tuple[float, float]:
    """The threshold for the texts of one task, and the best F1 of all thresholds."""
    f1, false_finds = f1_by_threshold(examples, found), false_finds_by_threshold(examples, found)
    best = float(f1.max())
    good = np.flatnonzero(f1 >= best - (F1_FOR_SILENCE if false_finds.any() else EQUAL_F1))
    return THRESHOLDS[good[np.argmin(false_finds[good])]], best


def _held_out(
    examples: Sequence[Example], found: Mapping[float, Found], fit: Fit
) -> list[tuple[Record, ...]]:
    """The records that are kept of each text at a point that was chosen without its fold."""
    fold_of = dealt_folds(np.array([example.dataset for example in examples]))
    kept: list[tuple[Record, ...]] = [()] * len(examples)
    for fold in range(NUM_FOLDS):
        others, own = np.flatnonzero(fold_of != fold).tolist(), np.flatnonzero(fold_of == fold).tolist()
        point, calibration = _best(
            [examples[index] for index in others],
            {bias: [records[index] for index in others] for bias, records in found.items()},
            fit,
        )
        for index in own:
            task = examples[index].task
            records = calibration.apply(found[point.end_bias][index], task)
            kept[index], _ = Thresholds.of(point.threshold_of(task)).keep(records)
    return kept


def _dataset_f1(examples: Sequence[Example], found: Found) -> dict[str, float]:
    """The F1 of each data set with records in per cent: the mean of its headline rows."""
    rows: dict[str, list[float]] = {name: [] for name in _datasets_with_records(examples)}
    for one in score(examples, found).scores:
        if one.row in HEADLINE_ROWS and one.dataset in rows:
            rows[one.dataset].append(one.counts.f1)
    return {dataset: _mean(f1) for dataset, f1 in rows.items()}


def _datasets_with_records(examples: Sequence[Example]) -> list[str]:
    return list(dict.fromkeys(example.dataset for example in examples if example.records))


def _false_finds(examples: Sequence[Example], found: Found) -> float | None:
    """The share of texts without a record in the gold in which something is found, in per cent."""
    flags = [bool(records) for example, records in zip(examples, found, strict=True) if not example.records]
    return 100 * _mean(flags) if flags else None


def _mean(values: Collection[float]) -> float:
    """0 without any."""
    return sum(values) / len(values) if values else 0.0
