"""Scores that mean what they say: of elements with a score of 0.8, four in five are right.

A raw score is a product of the model's probabilities. A calibrator maps it to how often such an element was
right on validation data, for each kind of element (record, frame filler, slot filler) and each task; it never
changes which of two elements of one kind and task is the likelier one. In: scores and verdicts, as arrays.
Out: a `Calibration`, which a model folder keeps as `calibration.json`, and measures of the error.

Calibrators work on log-odds. Four methods stand by, from stiff to flexible: leaving scores alone, one
temperature (Guo et al. 2017), a sigmoid (Platt 1999), isotonic regression (Zadrozny and Elkan 2002) with its
steps joined by lines (Oron and Flournoy 2017). Of those that the number of elements allows, the stiffest is
taken whose log-loss on held-out texts is within a standard error of the least.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ucuie.errors import ConfigError, show
from ucuie.schema import ELEMENT_KINDS, TASKS, Capability, ElementKind, Filler, Record, Task

NUM_BINS = 15
NUM_FOLDS = 5
MIN_ELEMENTS_OF_TASK = 100
"""A task with fewer elements of a kind shares the calibrator of all tasks."""
DECIMALS = 6
"""Of a score; also how near 0 and 1 it can come on the log-odds scale."""

Floats = NDArray[np.float64]
Method = Literal["none", "temperature", "sigmoid", "isotonic"]

_SMALLEST = 10.0**-DECIMALS
_SEED = 0


@dataclass(frozen=True)
class Elements:
    """Predicted elements of one kind, as arrays of length N.

    Args:
        scores: raw, in [0, 1].
        is_right: the verdicts.
        texts: which text each one is from; elements of one text are never parted by cross-validation.
    """

    scores: Floats
    is_right: NDArray[np.bool_]
    texts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, is_taken: NDArray[np.bool_]) -> "Elements":
        """Some of the elements."""
        return Elements(self.scores[is_taken], self.is_right[is_taken], self.texts[is_taken])


# --- Calibrators -------------------------------------------------------------------------------------------


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Sigmoid(_Value):
    """`sigmoid(scale * log-odds + shift)`; `none` has scale 1 and shift 0, `temperature` shift 0."""

    method: Literal["none", "temperature", "sigmoid"]
    scale: float = Field(default=1.0, ge=0)
    shift: float = 0.0

    def __call__(self, scores: Floats) -> Floats:
        """Calibrated scores (N,)."""
        if self.method == "none":
            return scores
        probabilities: Floats = 1 / (1 + np.exp(-(self.scale * _log_odds(scores) + self.shift)))
        return probabilities


class Isotonic(_Value):
    """Lines between points, straight over log-odds; constant beyond the first and last.

    Args:
        method: its name.
        scores: of the points, ascending.
        probabilities: of the points, never falling.
    """

    method: Literal["isotonic"] = "isotonic"
    scores: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(min_length=1)
    probabilities: tuple[Annotated[float, Field(ge=0, le=1)], ...]

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if len(self.scores) != len(self.probabilities):
            raise ValueError("there are not as many probabilities as scores")
        if any(left >= right for left, right in pairwise(self.scores)):
            raise ValueError("the scores do not ascend")
        if any(left > right for left, right in pairwise(self.probabilities)):
            raise ValueError("the probabilities fall")
        return self

    def __call__(self, scores: Floats) -> Floats:
        """Calibrated scores (N,)."""
        probabilities: Floats = np.interp(
            _log_odds(scores), _log_odds(np.array(self.scores)), np.array(self.probabilities)
        )
        return probabilities


Curve = Annotated[Sigmoid | Isotonic, Field(discriminator="method")]


class Calibrator(_Value):
    """How scores of one kind are to be read.

    Args:
        kind: of the elements.
        task: the only one it is for; None for every task without a calibrator of its own.
        curve: from raw scores to calibrated ones.
        num_elements: that it was fitted on.
        num_right: of these.
    """

    kind: ElementKind
    task: Task | Capability | None = None
    curve: Curve
    num_elements: int
    num_right: int


class Calibration(_Value):
    """All calibrators of a model: the contents of `calibration.json`.

    Args:
        format_version: of the file.
        texts: how many there were of each data set.
        calibrators: at most one for each kind and task.
    """

    format_version: Literal[1] = 1
    texts: dict[str, int] = {}
    calibrators: tuple[Calibrator, ...] = ()

    def curve(self, kind: ElementKind, task: Task | Capability) -> Curve | None:
        """What to read a score by: the task's own calibrator, or the one of all tasks; None for neither.

        Capabilities never share: what is right about a record is another question there.
        """
        shared = [None] if task in TASKS else []
        by_task = {
            calibrator.task: calibrator.curve for calibrator in self.calibrators if calibrator.kind == kind
        }
        return next((by_task[key] for key in (task, *shared) if key in by_task), None)

    def apply(self, records: Iterable[Record], task: Task | Capability) -> tuple[Record, ...]:
        """The records with calibrated scores; what has no score, or no calibrator, stays as it is."""
        curves = {kind: self.curve(kind, task) for kind in ELEMENT_KINDS}

        def read(kind: ElementKind, score: float | None) -> float | None:
            curve = curves[kind]
            if curve is None or score is None:
                return score
            return round(float(curve(np.array([score]))[0]), DECIMALS)

        def filler(kind: ElementKind, old: Filler | None) -> Filler | None:
            return old and old.model_copy(update={"score": read(kind, old.score)})

        return tuple(
            record.model_copy(
                update={
                    "filler": filler("filler", record.filler),
                    "slots": tuple(
                        filled.model_copy(update={"filler": filler("slot", filled.filler)})
                        for filled in record.slots
                    ),
                    "score": read("record", record.score),
                }
            )
            for record in records
        )

    def to_json(self) -> str:
        """The content of the file."""
        return self.model_dump_json(indent=1) + "\n"

    @classmethod
    def from_json(cls, content: str | bytes) -> "Calibration":
        """The calibration in a file.

        Raises:
            ConfigError: it is not one, or one of another format.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            place = ".".join(map(str, fault["loc"])) or "content"
            raise ConfigError(f"{place} {show(fault['input'])}: {fault['msg']}") from None


# --- Fitting -----------------------------------------------------------------------------------------------


def fit(elements: Elements) -> Sigmoid | Isotonic:
    """The curve of the method that does best on held-out texts, fitted to all elements."""
    methods = [method for method, least in _LEAST_ELEMENTS.items() if len(elements) >= least]
    if len(methods) == 1 or len(np.unique(elements.texts)) < NUM_FOLDS:
        return Sigmoid(method="none")
    losses = [_losses(_held_out(elements, _FITS[method]), elements.is_right) for method in methods]
    best = min(losses, key=lambda loss: float(loss.mean()))
    chosen = next(index for index, loss in enumerate(losses) if _is_as_good(loss, best))
    return _FITS[methods[chosen]](elements)


def cross_validated(elements: Elements) -> Floats:
    """Calibrated scores (N,) of every element by a curve that has seen nothing of its text.

    The choice of the method is part of what is repeated for each fold. With fewer texts than folds, the raw
    scores.
    """
    if len(np.unique(elements.texts)) < NUM_FOLDS:
        return elements.scores
    return _held_out(elements, fit)


def _held_out(elements: Elements, fit_curve: Callable[[Elements], Sigmoid | Isotonic]) -> Floats:
    """Scores of the elements of each fold of the texts by what was fitted to the other folds."""
    texts = np.unique(elements.texts)
    folds = np.empty(len(texts), dtype=np.int64)
    folds[np.random.default_rng(_SEED).permutation(len(texts))] = np.arange(len(texts)) % NUM_FOLDS
    fold_of = folds[np.searchsorted(texts, elements.texts)]
    calibrated = np.empty(len(elements))
    for fold in range(NUM_FOLDS):
        is_held_out = fold_of == fold
        curve = fit_curve(elements.where(~is_held_out))
        calibrated[is_held_out] = curve(elements.scores[is_held_out])
    return calibrated


def _is_as_good(losses: Floats, best: Floats) -> bool:
    """Whether losses (N,) are worse than the best ones by no more than a standard error of the difference."""
    difference = losses - best
    return bool(difference.mean() <= difference.std() / np.sqrt(len(difference)))


def _leave_alone(elements: Elements) -> Sigmoid:
    return Sigmoid(method="none")


def _fit_temperature(elements: Elements) -> Sigmoid:
    (scale,) = _fit_logistic(_log_odds(elements.scores)[:, None], elements.is_right, np.ones(1))
    return Sigmoid(method="temperature", scale=round(max(float(scale), 0.0), DECIMALS))


def _fit_sigmoid(elements: Elements) -> Sigmoid:
    log_odds = _log_odds(elements.scores)
    inputs = np.column_stack([log_odds, np.ones_like(log_odds)])
    scale, shift = _fit_logistic(inputs, elements.is_right, np.array([1.0, 0.0]))
    if scale < 0:  # the likelier is never to become the less likely one
        scale, (shift,) = 0.0, _fit_logistic(inputs[:, 1:], elements.is_right, np.zeros(1))
    return Sigmoid(method="sigmoid", scale=round(float(scale), DECIMALS), shift=round(float(shift), DECIMALS))


def _fit_isotonic(elements: Elements) -> Isotonic:
    """Pool adjacent violators; a block stands at the mean of its log-odds.

    No block says "never" or "always": of N elements the extreme ones say one in N + 2.
    """
    order = np.argsort(elements.scores, kind="stable")
    blocks: list[tuple[int, float, int]] = []  # elements, sum of log-odds, right ones
    # Equal scores are one block from the start.
    scores, counts = np.unique(elements.scores[order], return_counts=True)
    ends = np.cumsum(counts)
    totals = np.concatenate([[0], np.cumsum(elements.is_right[order])])
    for score, count, end in zip(_log_odds(scores).tolist(), counts.tolist(), ends.tolist(), strict=True):
        block = (count, score * count, int(totals[end] - totals[end - count]))
        while blocks and blocks[-1][2] * block[0] >= block[2] * blocks[-1][0]:
            last = blocks.pop()
            block = (last[0] + block[0], last[1] + block[1], last[2] + block[2])
        blocks.append(block)
    edge = 1 / (len(elements) + 2)
    points: dict[float, float] = {}
    for count, total, right in blocks:
        score = round(float(_probability(np.array(total / count))), DECIMALS)
        # Of blocks that rounding puts at one place the last, the higher one, stays.
        points[score] = round(min(max(right / count, edge), 1 - edge), DECIMALS)
    return Isotonic(scores=tuple(points), probabilities=tuple(points.values()))


def _fit_logistic(inputs: Floats, is_right: NDArray[np.bool_], start: Floats) -> Floats:
    """Weights (D,) of a logistic regression on inputs (N, D), by Newton's method.

    A weak pull to `start`, worth about one element, keeps them finite where right and wrong part cleanly.
    """
    weights = start.copy()
    for _ in range(50):
        probabilities = _probability(inputs @ weights)
        gradient = inputs.T @ (probabilities - is_right) + (weights - start)
        curvature = (inputs * (probabilities * (1 - probabilities))[:, None]).T @ inputs + np.eye(len(start))
        step = np.linalg.solve(curvature, gradient)
        # The loss is convex and this bound on a step keeps Newton's method from leaping over flat ground.
        weights -= step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    return weights


_FITS: Mapping[Method, Callable[[Elements], Sigmoid | Isotonic]] = {
    "none": _leave_alone,
    "temperature": _fit_temperature,
    "sigmoid": _fit_sigmoid,
    "isotonic": _fit_isotonic,
}
_LEAST_ELEMENTS: Mapping[Method, int] = {"none": 0, "temperature": 20, "sigmoid": 50, "isotonic": 300}


def _log_odds(scores: Floats) -> Floats:
    clipped = np.clip(scores, _SMALLEST, 1 - _SMALLEST)
    log_odds: Floats = np.log(clipped) - np.log1p(-clipped)
    return log_odds


def _probability(log_odds: Floats) -> Floats:
    probability: Floats = 1 / (1 + np.exp(-log_odds))
    return probability


# --- Errors ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bin:
    """Elements with scores next to each other.

    Args:
        lowest: score.
        highest: score.
        num_elements: in it.
        mean_score: what was promised.
        accuracy: the share that is right.
    """

    lowest: float
    highest: float
    num_elements: int
    mean_score: float
    accuracy: float


def reliability(scores: Floats, is_right: NDArray[np.bool_], *, num_bins: int = NUM_BINS) -> tuple[Bin, ...]:
    """Elements in bins of equal mass, by score; fewer bins where there are fewer elements."""
    order = np.argsort(scores, kind="stable")
    return tuple(
        Bin(
            float(scores[indices[0]]),
            float(scores[indices[-1]]),
            len(indices),
            float(scores[indices].mean()),
            float(is_right[indices].mean()),
        )
        for indices in np.array_split(order, min(num_bins, len(order)) or 1)
        if len(indices)
    )


def expected_calibration_error(
    scores: Floats, is_right: NDArray[np.bool_], *, num_bins: int = NUM_BINS
) -> float:
    """The mean distance between score and accuracy over bins of equal mass, in [0, 1]; 0 without elements."""
    total = sum(
        one.num_elements * abs(one.mean_score - one.accuracy)
        for one in reliability(scores, is_right, num_bins=num_bins)
    )
    return total / len(scores) if len(scores) else 0.0


def log_loss(scores: Floats, is_right: NDArray[np.bool_]) -> float:
    """Minus the mean log-probability of the verdicts, in nats; 0 without elements."""
    return float(_losses(scores, is_right).mean()) if len(scores) else 0.0


def _losses(scores: Floats, is_right: NDArray[np.bool_]) -> Floats:
    clipped = np.clip(scores, _SMALLEST, 1 - _SMALLEST)
    return -np.where(is_right, np.log(clipped), np.log1p(-clipped))


def chance_error(scores: Floats, *, num_bins: int = NUM_BINS, draws: int = 200) -> float:
    """The calibration error that perfect scores would show here, since there are only so many elements."""
    generator = np.random.default_rng(_SEED)
    errors = [
        expected_calibration_error(scores, generator.random(len(scores)) < scores, num_bins=num_bins)
        for _ in range(draws)
    ]
    return float(np.mean(errors))
