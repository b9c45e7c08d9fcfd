"""The place of a model between precision and recall, as `ucuie.json` has it."""

from dataclasses import dataclass

END_BIASES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Those that a model's own is chosen from; most models end too early."""


@dataclass(frozen=True)
class OperatingPoint:
    """The place of a model between precision and recall, unless an answer is asked for elsewhere.

    Args:
        end_bias: in logits, by how much beginning another record is favoured over ending.
        threshold: the least calibrated score that is kept, for all types; 0 keeps everything.
    """

    end_bias: float = 0.0
    threshold: float = 0.0
