"""Scores that mean what they say: of elements with a score of 0.8, four in five are right.

A raw score is a product of the model's probabilities. A calibrator maps it to how often such an element was
right on validation data, for each kind of element (record, frame filler, slot filler) and each task; it never
changes which of two elements of one kind and task is the likelier one.

    curves        a `Calibration`, which a model folder keeps as `calibration.json`, and how it changes scores
    fitting       scores and verdicts in, the curve that fits them best out
    reliability   how far scores are from what they say
"""

from ucuie.calibration.curves import Calibration, Calibrator, Isotonic, Sigmoid
from ucuie.calibration.fitting import Elements, cross_validated, fit
from ucuie.calibration.reliability import (
    Bin,
    chance_error,
    expected_calibration_error,
    log_loss,
    reliability,
)

__all__ = [
    "Bin",
    "Calibration",
    "Calibrator",
    "Elements",
    "Isotonic",
    "Sigmoid",
    "chance_error",
    "cross_validated",
    "expected_calibration_error",
    "fit",
    "log_loss",
    "reliability",
]
