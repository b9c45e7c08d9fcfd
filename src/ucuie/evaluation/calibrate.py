"""Calibration of a model: its raw scores on validation data against what was right.

In: an extractor and gold. Out: a `Calibration` for the model folder, the operating point that goes with it
(`operating_point` chooses it), and a report of the calibration error before and after. What it says about
"after" comes from cross-validation: every element is scored by calibrators that were fitted without its text.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ucuie.errors import DataError
from ucuie.evaluation.choosing import ChosenPoint, Found, choose_point
from ucuie.evaluation.fitting import (
    Bin,
    Elements,
    chance_error,
    cross_validated,
    expected_calibration_error,
    fit,
    log_loss,
    reliability,
)
from ucuie.extract.extractor import Extractor, Query
from ucuie.extract.options import AnswerOptions
from ucuie.extract.query import Progress
from ucuie.metrics import mark_elements
from ucuie.model.calibration import Calibration, Calibrator
from ucuie.model.operating_point import END_BIASES, OperatingPoint
from ucuie.schema import CAPABILITIES, ELEMENT_KINDS, Capability, ElementKind, Example, Task

MIN_ELEMENTS_OF_TASK = 100
"""A task with fewer elements of a kind shares the calibrator of all tasks."""


class Marked(NamedTuple):
    """The scored elements of one kind, with the task and the data set of each, (N,)."""

    elements: Elements
    tasks: NDArray[np.str_]
    datasets: NDArray[np.str_]


@dataclass(frozen=True)
class ErrorRow:
    """How far scores of one kind, task and data set are from what was right; None stands for all of them.

    The expected calibration error (`ece`), the log-loss in nats and the reliability (`bins`) are those of the
    raw scores before, and of calibrated, cross-validated ones after.

    Args:
        method: of the task's calibrator, or of the one that it shares; None in rows of anything else.
        accuracy: the share of elements that is right.
        ece_by_chance: the error that perfect scores would show with so few elements.
    """

    kind: ElementKind
    task: Task | Capability | None
    dataset: str | None
    method: str | None
    num_elements: int
    accuracy: float
    ece_before: float
    ece_after: float
    ece_by_chance: float
    log_loss_before: float
    log_loss_after: float
    bins_before: tuple[Bin, ...]
    bins_after: tuple[Bin, ...]


@dataclass(frozen=True)
class CalibrationReport:
    """A calibration and the errors before and after.

    Args:
        model: the name that extractions call it.
        num_unreadable: texts that the model could not read, which `num_texts` leaves out.
        calibration: the curves, fitted on scores at `point`.
        point: the one chosen, or the model's own.
        choice: None where no point was to be chosen.
    """

    model: str
    num_texts: int
    num_unreadable: int
    calibration: Calibration
    point: OperatingPoint
    choice: ChosenPoint | None
    rows: tuple[ErrorRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "model": self.model,
            "texts": self.num_texts,
            "unreadable": self.num_unreadable,
            "ece_after_is_cross_validated": True,
            "errors": [asdict(row) for row in self.rows],
            "calibration": self.calibration.model_dump(mode="json"),
            "operating_point": asdict(self.point),
            "choice": self.choice and asdict(self.choice) | {"after_is_cross_validated": True},
        }


def calibrate(
    extractor: Extractor,
    examples: Sequence[Example],
    *,
    end_biases: Collection[float] = END_BIASES,
    progress: Progress | None = None,
) -> CalibrationReport:
    """Extracts from every example with its own schema, chooses an operating point, fits calibrators at it.

    Args:
        extractor: the model; an earlier calibration of it is left aside.
        examples: gold that the model was not trained on, of one or several data sets.
        end_biases: those to choose from, and 0: the texts are read once under each. An empty collection
            leaves the model where it stands.
        progress: is shown every extraction on its way.

    Raises:
        DataError: nothing was predicted, so there is nothing to learn from.
    """
    faults = extractor.faults(Query.of_example(example) for example in examples)
    readable = [example for index, example in enumerate(examples) if index not in faults]
    own = extractor.operating_point
    biases = tested_biases(end_biases) or (own.end_bias,)
    found = _found(extractor, readable, biases, progress)
    choice = choose_point(readable, found, _fitted) if end_biases else None
    point = own if choice is None else choice.point
    marked = _marked(readable, found[point.end_bias])
    if not marked:
        raise DataError("the data", ["the model found nothing in its texts"], "give it more of them")
    calibration = _fitted(readable, found[point.end_bias])
    return CalibrationReport(
        model=extractor.model_name,
        num_texts=len(readable),
        num_unreadable=len(faults),
        calibration=calibration,
        point=point,
        choice=choice,
        rows=tuple(_rows(marked, calibration.calibrators)),
    )


def tested_biases(end_biases: Collection[float]) -> tuple[float, ...]:
    """The biases that `calibrate` reads all texts under, ascending: those given and 0; none of none."""
    return tuple(sorted({0.0, *end_biases})) if end_biases else ()


def _found(
    extractor: Extractor, examples: Sequence[Example], biases: Sequence[float], progress: Progress | None
) -> dict[float, Found]:
    """All records with raw scores, of each example under each bias."""
    # A query's bias is added to that of the model.
    options = [
        AnswerOptions(end_bias=bias - extractor.operating_point.end_bias, raw_scores=True) for bias in biases
    ]
    # Text by text: those of one length share batches.
    answers = extractor.answer(Query.of_example(example, one) for example in examples for one in options)
    if progress is not None:
        answers = progress(answers, len(examples) * len(biases))
    records = [answer.records for answer in answers]
    return {bias: records[place :: len(biases)] for place, bias in enumerate(biases)}


def _fitted(examples: Sequence[Example], found: Found) -> Calibration:
    """Calibrators for the scores of what was found in each example."""
    texts = Counter(example.dataset for example in examples)
    return Calibration(texts=dict(texts), calibrators=tuple(_calibrators(_marked(examples, found))))


def _marked(examples: Sequence[Example], found: Found) -> dict[ElementKind, Marked]:
    """The scored elements that were found, by kind; kinds without any are left out."""
    marked: dict[ElementKind, list[tuple[float, bool, int, str, str]]] = {kind: [] for kind in ELEMENT_KINDS}
    for index, (example, records) in enumerate(zip(examples, found, strict=True)):
        for mark in mark_elements(example, records):
            if mark.score is not None:
                one = (mark.score, mark.is_right, index, example.task, example.dataset)
                marked[mark.kind].append(one)
    columns = {kind: map(np.array, zip(*rows, strict=True)) for kind, rows in marked.items() if rows}
    return {
        kind: Marked(Elements(scores, is_right, texts), tasks, datasets)
        for kind, (scores, is_right, texts, tasks, datasets) in columns.items()
    }


def _calibrators(marked: Mapping[ElementKind, Marked]) -> Iterator[Calibrator]:
    """One for each kind and task with elements enough, and for each kind one of all tasks together."""
    for kind, (elements, tasks, _) in marked.items():
        parts = [(task, tasks == task) for task in dict.fromkeys(tasks.tolist())]
        parts = [(task, is_taken) for task, is_taken in parts if is_taken.sum() >= MIN_ELEMENTS_OF_TASK]
        for task, is_taken in [*parts, (None, ~np.isin(tasks, CAPABILITIES))]:
            taken = elements.where(is_taken)
            if len(taken):
                yield Calibrator(
                    kind=kind,
                    task=task,
                    curve=fit(taken),
                    num_elements=len(taken),
                    num_right=int(taken.is_right.sum()),
                )


def _rows(marked: Mapping[ElementKind, Marked], calibrators: Iterable[Calibrator]) -> Iterator[ErrorRow]:
    """For each kind the error of all scores, then of each task, then of its data sets if it has several."""
    methods = {(one.kind, one.task): one.curve.method for one in calibrators}
    for kind, (elements, tasks, datasets) in marked.items():
        own = {task for one, task in methods if one == kind}
        calibrated = _held_out_scores(elements, tasks, own)
        yield _row(kind, None, None, None, elements, calibrated)
        for task in dict.fromkeys(tasks.tolist()):
            is_task = tasks == task
            method = methods.get((kind, task)) or f"of all: {methods.get((kind, None), 'none')}"
            yield _row(kind, task, None, method, elements.where(is_task), calibrated[is_task])
            names = dict.fromkeys(datasets[is_task].tolist())
            for name in names if len(names) > 1 else ():
                is_taken = is_task & (datasets == name)
                yield _row(kind, task, name, None, elements.where(is_taken), calibrated[is_taken])


def _held_out_scores(
    elements: Elements, tasks: NDArray[np.str_], own: set[Task | Capability | None]
) -> NDArray[np.float64]:
    """Calibrated scores (N,), each by a calibrator as it will be used, but fitted without its text.

    Tasks in `own` have a calibrator of their own.
    """
    calibrated = elements.scores.copy()
    is_shared = ~np.isin(tasks, CAPABILITIES)
    calibrated[is_shared] = cross_validated(elements.where(is_shared))
    for task in own - {None}:
        calibrated[tasks == task] = cross_validated(elements.where(tasks == task))
    return calibrated


def _row(
    kind: ElementKind,
    task: Task | Capability | None,
    dataset: str | None,
    method: str | None,
    elements: Elements,
    calibrated: NDArray[np.float64],
) -> ErrorRow:
    return ErrorRow(
        kind=kind,
        task=task,
        dataset=dataset,
        method=method,
        num_elements=len(elements),
        accuracy=float(elements.is_right.mean()),
        ece_before=expected_calibration_error(elements.scores, elements.is_right),
        ece_after=expected_calibration_error(calibrated, elements.is_right),
        ece_by_chance=chance_error(calibrated),
        log_loss_before=log_loss(elements.scores, elements.is_right),
        log_loss_after=log_loss(calibrated, elements.is_right),
        bins_before=reliability(elements.scores, elements.is_right),
        bins_after=reliability(calibrated, elements.is_right),
    )
