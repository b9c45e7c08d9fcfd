"""How far scores are from what they say, as numbers and as the bins of a diagram."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ucuie.model.calibration import SMALLEST, Floats

NUM_BINS = 15

_SEED = 0


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
    return float(log_losses(scores, is_right).mean()) if len(scores) else 0.0


def log_losses(scores: Floats, is_right: NDArray[np.bool_]) -> Floats:
    """Minus the log-probability of each verdict (N,), in nats."""
    clipped = np.clip(scores, SMALLEST, 1 - SMALLEST)
    return -np.where(is_right, np.log(clipped), np.log1p(-clipped))


def chance_error(scores: Floats, *, num_bins: int = NUM_BINS, draws: int = 200) -> float:
    """The calibration error that perfect scores would show here, since there are only so many elements."""
    generator = np.random.default_rng(_SEED)
    errors = [
        expected_calibration_error(scores, generator.random(len(scores)) < scores, num_bins=num_bins)
        for _ in range(draws)
    ]
    return float(np.mean(errors))
