"""The operating point of a model: the bias on ending and the threshold that do best on validation texts.

In: gold, what was found in it under each bias, and a way to fit calibrators. Out: a point, and for each data
set the F1 before and after. Knows no model.

Data sets count the same, so that a large one does not decide: each by the mean F1 of its headline rows under
the default scorer.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ucuie.evaluation.fitting import NUM_FOLDS, dealt_folds
from ucuie.extract.options import Thresholds
from ucuie.metrics import HEADLINE_ROWS, score
from ucuie.metrics.scorers import score_offset
from ucuie.model.calibration import Calibration
from ucuie.model.operating_point import OperatingPoint
from ucuie.schema import TASKS, Example, Record

THRESHOLDS = tuple(hundredths / 100 for hundredths in range(100))
NEUTRAL = OperatingPoint()
"""A model ends as it was trained to, and nothing is left out."""
EQUAL_F1 = 0.05
"""Points of F1 that a report with one decimal does not show: no reason to go further away from neutral."""

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
        datasets: their F1; where the neutral point stays, before and after are the same.
    """

    point: OperatingPoint
    end_biases: tuple[float, ...]
    datasets: tuple[DatasetF1, ...]

    @property
    def before(self) -> float:
        """The mean F1 over data sets at the neutral point, in per cent."""
        return _mean([one.before for one in self.datasets])

    @property
    def after(self) -> float:
        """The mean F1 over data sets at the point chosen, cross-validated, in per cent."""
        return _mean([one.after for one in self.datasets])


def choose_point(examples: Sequence[Example], found: Mapping[float, Found], fit: Fit) -> ChosenPoint:
    """The point with the best mean F1 over data sets, of points as good as that the most neutral one.

    Its F1 is that of texts it has not seen: for each fold of the texts calibrators are fitted and a point is
    chosen on the others, then used on the fold.

    Args:
        examples: gold; parts of answers, such as those of the task judging, are left aside.
        found: the records of each example under each bias, with raw scores; 0 is one of the biases.
        fit: makes the calibrators by whose scores a threshold goes.
    """
    whole = [index for index, example in enumerate(examples) if example.task in TASKS]
    examples = [examples[index] for index in whole]
    found = {bias: [records[index] for index in whole] for bias, records in found.items()}
    before = _dataset_f1(examples, found[0.0])
    point, after = NEUTRAL, before
    if len(examples) >= NUM_FOLDS:
        held_out = _dataset_f1(examples, _held_out(examples, found, fit))
        if _mean(held_out.values()) > _mean(before.values()):
            point, _ = _best(examples, found, fit)
            after = before if point == NEUTRAL else held_out
    names = [example.dataset for example in examples]
    datasets = tuple(DatasetF1(name, names.count(name), before[name], after[name]) for name in before)
    return ChosenPoint(point, tuple(found), datasets)


def f1_by_threshold(examples: Sequence[Example], found: Found) -> NDArray[np.float64]:
    """The mean F1 over data sets, in per cent, of what each of THRESHOLDS keeps: an array parallel to them.

    Args:
        examples: gold of whole answers.
        found: the records of each, with the scores that thresholds go by.
    """
    totals: dict[str, dict[str, NDArray[np.int64]]] = {}
    for example, records in zip(examples, found, strict=True):
        rows = totals.setdefault(example.dataset, {})
        for stretch in _stretches(records):
            kept, _ = Thresholds.of(THRESHOLDS[stretch.start]).keep(records)
            for row, labels in score_offset(example, kept).items():
                if row in HEADLINE_ROWS:
                    total = rows.setdefault(row, np.zeros((2, len(THRESHOLDS)), dtype=np.int64))
                    for counts in labels.values():
                        total[:, stretch] += [[counts.matched], [counts.gold + counts.predicted]]
    by_dataset = [
        np.mean([200 * matched / np.maximum(size, 1) for matched, size in rows.values()], axis=0)
        for rows in totals.values()
    ]
    mean: NDArray[np.float64] = np.mean(by_dataset, axis=0)
    return mean


def _stretches(records: Sequence[Record]) -> list[slice]:
    """Stretches of THRESHOLDS that leave out the same of some records."""
    scores = [record.score for record in records]
    scores += [filler.score for record in records for filler in record.fillers()]
    given = [one for one in scores if one is not None]
    # Where the first threshold above each score stands.
    starts = sorted({0, *np.searchsorted(THRESHOLDS, given, side="right").tolist()} - {len(THRESHOLDS)})
    return [slice(*ends) for ends in zip(starts, [*starts[1:], len(THRESHOLDS)], strict=True)]


def _best(
    examples: Sequence[Example], found: Mapping[float, Found], fit: Fit
) -> tuple[OperatingPoint, Calibration]:
    """The best point on some texts, and the calibrators of its bias, fitted to the same texts."""
    calibrations = {bias: fit(examples, of_texts) for bias, of_texts in found.items()}
    f1 = {
        bias: f1_by_threshold(
            examples,
            [
                calibrations[bias].apply(records, example.task)
                for example, records in zip(examples, of_texts, strict=True)
            ],
        )
        for bias, of_texts in found.items()
    }
    least = max(by_threshold.max() for by_threshold in f1.values()) - EQUAL_F1
    bias = min((one for one in f1 if f1[one].max() >= least), key=abs)
    threshold = THRESHOLDS[int(np.argmax(f1[bias] >= least))]
    return OperatingPoint(bias, threshold), calibrations[bias]


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
        thresholds = Thresholds.of(point.threshold)
        for index in own:
            records = calibration.apply(found[point.end_bias][index], examples[index].task)
            kept[index], _ = thresholds.keep(records)
    return kept


def _dataset_f1(examples: Sequence[Example], found: Found) -> dict[str, float]:
    """The F1 of each data set in per cent: the mean of its headline rows."""
    rows: dict[str, list[float]] = {}
    for one in score(examples, found).scores:
        if one.row in HEADLINE_ROWS:
            rows.setdefault(one.dataset, []).append(one.counts.f1)
    return {dataset: _mean(f1) for dataset, f1 in rows.items()}


def _mean(values: Collection[float]) -> float:
    """0 without any."""
    return sum(values) / len(values) if values else 0.0
