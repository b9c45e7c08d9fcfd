"""Scores and verdicts in, the curve that fits them best out.

Four methods stand by, from stiff to flexible: leaving scores alone, one temperature (Guo et al. 2017), a
sigmoid (Platt 1999), isotonic regression (Zadrozny and Elkan 2002) with its steps joined by lines (Oron and
Flournoy 2017). Of those that the number of elements allows, the stiffest is taken whose log-loss on held-out
texts is within a standard error of the least.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ucuie.evaluation.reliability import log_losses
from ucuie.model.calibration import DECIMALS, Floats, Isotonic, Sigmoid, log_odds, probability

NUM_FOLDS = 5

Method = Literal["none", "temperature", "sigmoid", "isotonic"]

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


def fit(elements: Elements) -> Sigmoid | Isotonic:
    """The curve of the method that does best on held-out texts, fitted to all elements."""
    methods = [method for method, least in _LEAST_ELEMENTS.items() if len(elements) >= least]
    if len(methods) == 1 or len(np.unique(elements.texts)) < NUM_FOLDS:
        return Sigmoid(method="none")
    losses = [log_losses(_held_out(elements, _FITS[method]), elements.is_right) for method in methods]
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
    (scale,) = _fit_logistic(log_odds(elements.scores)[:, None], elements.is_right, np.ones(1))
    return Sigmoid(method="temperature", scale=round(max(float(scale), 0.0), DECIMALS))


def _fit_sigmoid(elements: Elements) -> Sigmoid:
    inputs = np.column_stack([log_odds(elements.scores), np.ones(len(elements))])
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
    for score, count, end in zip(log_odds(scores).tolist(), counts.tolist(), ends.tolist(), strict=True):
        block = (count, score * count, int(totals[end] - totals[end - count]))
        while blocks and blocks[-1][2] * block[0] >= block[2] * blocks[-1][0]:
            last = blocks.pop()
            block = (last[0] + block[0], last[1] + block[1], last[2] + block[2])
        blocks.append(block)
    edge = 1 / (len(elements) + 2)
    points: dict[float, float] = {}
    for count, total, right in blocks:
        score = round(float(probability(np.array(total / count))), DECIMALS)
        # Of blocks that rounding puts at one place the last, the higher one, stays.
        points[score] = round(min(max(right / count, edge), 1 - edge), DECIMALS)
    return Isotonic(scores=tuple(points), probabilities=tuple(points.values()))


def _fit_logistic(inputs: Floats, is_right: NDArray[np.bool_], start: Floats) -> Floats:
    """Weights (D,) of a logistic regression on inputs (N, D), by Newton's method.

    A weak pull to `start`, worth about one element, keeps them finite where right and wrong part cleanly.
    """
    weights = start.copy()
    for _ in range(50):
        probabilities = probability(inputs @ weights)
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
