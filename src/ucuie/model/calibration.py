"""Curves from raw scores to calibrated ones, and the `Calibration` of a model: one for each kind and task.

Curves work on log-odds. How they are found is `fitting`.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ucuie.schema import ELEMENT_KINDS, TASKS, Capability, ElementKind, Filler, Record, Task

Floats = NDArray[np.float64]
_Scored = TypeVar("_Scored", Filler, Record)

DECIMALS = 6
"""Decimals of a score; also how near 0 and 1 it can come on the log-odds scale."""
SMALLEST = 10.0**-DECIMALS


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
        return probability(self.scale * log_odds(scores) + self.shift)


class Isotonic(_Value):
    """Lines between points, straight over log-odds; constant beyond the first and last.

    Args:
        scores: where the curve has its points, ascending.
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
            log_odds(scores), log_odds(np.array(self.scores)), np.array(self.probabilities)
        )
        return probabilities


Curve = Annotated[Sigmoid | Isotonic, Field(discriminator="method")]


class Calibrator(_Value):
    """The curve by which scores of one kind are read.

    Args:
        task: the only one it is for; None for every task without a calibrator of its own.
        num_elements: that it was fitted on.
        num_right: elements that were right.
    """

    kind: ElementKind
    task: Task | Capability | None = None
    curve: Curve
    num_elements: int
    num_right: int


class Calibration(_Value):
    """All calibrators of a model: the contents of `calibration.json`.

    Args:
        texts: how many there were of each data set.
        calibrators: at most one for each kind and task.
    """

    format_version: Literal[1] = 1
    texts: dict[str, int] = {}
    calibrators: tuple[Calibrator, ...] = ()

    def curve(self, kind: ElementKind, task: Task | Capability) -> Curve | None:
        """The curve of a task's own calibrator, or of the one of all tasks; None for neither.

        Capabilities never share: what is right about a record is another question there.
        """
        keys = (task, None) if task in TASKS else (task,)
        by_task = {one.task: one.curve for one in self.calibrators if one.kind == kind}
        return next((by_task[key] for key in keys if key in by_task), None)

    def apply(self, records: Iterable[Record], task: Task | Capability) -> tuple[Record, ...]:
        """The records with calibrated scores; what has no score, or no calibrator, stays as it is."""
        curves = {kind: self.curve(kind, task) for kind in ELEMENT_KINDS}

        def read(kind: ElementKind, scored: _Scored) -> _Scored:
            curve = curves[kind]
            if curve is None or scored.score is None:
                return scored
            score = round(float(curve(np.array([scored.score]))[0]), DECIMALS)
            return scored.model_copy(update={"score": score})

        def calibrated(record: Record) -> Record:
            slots = tuple(
                filled.model_copy(update={"filler": filled.filler and read("slot", filled.filler)})
                for filled in record.slots
            )
            filler = record.filler and read("filler", record.filler)
            return read("record", record.model_copy(update={"filler": filler, "slots": slots}))

        return tuple(map(calibrated, records))

    def to_json(self) -> str:
        """The content of the file."""
        return self.model_dump_json(indent=1) + "\n"


def log_odds(scores: Floats) -> Floats:
    """The log-odds of scores in [0, 1]; finite, for those nearer to 0 or 1 than can be written are moved."""
    clipped = np.clip(scores, SMALLEST, 1 - SMALLEST)
    value: Floats = np.log(clipped) - np.log1p(-clipped)
    return value


def probability(log_odds: Floats) -> Floats:
    """The inverse of `log_odds`."""
    value: Floats = 1 / (1 + np.exp(-log_odds))
    return value
