"""Scores and verdicts in, the curve that fits them best out; and how far scores are from what they say.

Four methods stand by, from stiff to flexible: leaving scores alone, one temperature (Guo et al. 2017), a
sigmoid (Platt 1999), isotonic regression (Zadrozny and Elkan 2002) with its steps joined by lines (Oron and
Flournoy 2017). Of those that the number of elements allows, the stiffest is taken whose log-loss on held-out
texts is within a standard error of the least.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ucuie.model.calibration import DECIMALS, SMALLEST, Floats, Isotonic, Sigmoid, log_odds, probability

NUM_FOLDS = 5
NUM_BINS = 15

_SEED = 0


@dataclass(frozen=True)
class Elements:
    """Predicted elements of one kind, as arrays of length N.

    Args:
        scores: raw, in [0, 1].
        is_right: the verdicts.
        texts: the text that each one is from; elements of one text are never parted by cross-validation.
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
    methods = [method for least, method in _FITS.items() if len(elements) >= least]
    if len(methods) == 1 or len(np.unique(elements.texts)) < NUM_FOLDS:
        return Sigmoid(method="none")
    losses = [log_losses(_held_out(elements, method), elements.is_right) for method in methods]
    best = min(losses, key=lambda loss: float(loss.mean()))
    chosen = next(index for index, loss in enumerate(losses) if _is_as_good(loss, best))
    return methods[chosen](elements)


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
    texts, places = np.unique(elements.texts, return_inverse=True)
    fold_of = dealt_folds(np.zeros(len(texts)))[places]
    calibrated = np.empty(len(elements))
    for fold in range(NUM_FOLDS):
        is_held_out = fold_of == fold
        curve = fit_curve(elements.where(~is_held_out))
        calibrated[is_held_out] = curve(elements.scores[is_held_out])
    return calibrated


def dealt_folds(groups: NDArray[Any]) -> NDArray[np.int64]:
    """The fold (N,) of each of some texts, by chance; those of each group are dealt out evenly."""
    order = np.random.default_rng(_SEED).permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    folds = np.empty(len(groups), dtype=np.int64)
    folds[order] = np.arange(len(groups)) % NUM_FOLDS
    return folds


def _is_as_good(losses: Floats, best: Floats) -> bool:
    """Losses (N,) are worse than the best ones by no more than a standard error of the difference."""
    difference = losses - best
    return bool(difference.mean() <= difference.std() / np.sqrt(len(difference)))


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


_FITS: Mapping[int, Callable[[Elements], Sigmoid | Isotonic]] = {
    0: lambda _: Sigmoid(method="none"),
    20: _fit_temperature,
    50: _fit_sigmoid,
    300: _fit_isotonic,
}
"""The methods from stiff to flexible, by the least number of elements that each needs."""


@dataclass(frozen=True)
class Bin:
    """Elements with scores next to each other, from the lowest to the highest: promised and right."""

    lowest: float
    highest: float
    num_elements: int
    mean_score: float
    accuracy: float


def reliability(scores: Floats, is_right: NDArray[np.bool_], *, num_bins: int = NUM_BINS) -> tuple[Bin, ...]:
    """Elements in bins of equal mass, by score; fewer bins where there are fewer elements."""
    order = np.argsort(scores, kind="stable")
    bins = []
    for indices in np.array_split(order, min(num_bins, len(order))) if len(order) else ():
        own = scores[indices]
        accuracy = float(is_right[indices].mean())
        bins.append(Bin(float(own[0]), float(own[-1]), len(own), float(own.mean()), accuracy))
    return tuple(bins)


def expected_calibration_error(
    scores: Floats, is_right: NDArray[np.bool_], *, num_bins: int = NUM_BINS
) -> float:
    """The mean distance between score and accuracy over bins of equal mass, in [0, 1]; 0 without elements."""
    bins = reliability(scores, is_right, num_bins=num_bins)
    total = sum(one.num_elements * abs(one.mean_score - one.accuracy) for one in bins)
    return total / len(scores) if len(scores) else 0.0


def log_loss(scores: Floats, is_right: NDArray[np.bool_]) -> float:
    """Minus the mean log-probability of the verdicts, in nats; 0 without elements."""
    return float(log_losses(scores, is_right).mean()) if len(scores) else 0.0


def log_losses(scores: Floats, is_right: NDArray[np.bool_]) -> Floats:
    """Minus the log-probability of each verdict (N,), in nats."""
    clipped = np.clip(scores, SMALLEST, 1 - SMALLEST)
    return -np.where(is_right, np.log(clipped), np.log1p(-clipped))


def chance_error(scores: Floats, *, draws: int = 200) -> float:
    """The calibration error that perfect scores would show here, since there are only so many elements."""
    generator = np.random.default_rng(_SEED)
    verdicts = (generator.random(len(scores)) < scores for _ in range(draws))
    return float(np.mean([expected_calibration_error(scores, is_right) for is_right in verdicts]))
