"""What may be asked of an answer beside text and schema: thresholds, the bias on ending, raw scores, why."""

import math
from dataclasses import dataclass, field
from typing import Literal, TypedDict, Unpack

from ucuie.errors import ConfigError, show
from ucuie.thresholds import Thresholds, ThresholdSource

Explain = bool | Literal["linears"]
"""Whether records carry an explanation, and with "linears" one for each adapted linear as well."""


class OptionArguments(TypedDict, total=False):
    """The options as the methods of `Extractor` take them; see `AnswerOptions`."""

    threshold: ThresholdSource
    end_bias: float
    raw_scores: bool
    explain: Explain


@dataclass(frozen=True)
class AnswerOptions:
    """How one text is to be answered.

    Args:
        threshold: the least scores that are kept.
        end_bias: above 0 the model goes on for longer, for more recall; below 0 it ends sooner, for more
            precision. In logits: 2 makes "another record" e^2 = 7.4 times as likely against "the end".
        raw_scores: scores are the model's own probabilities, even where the model has a calibration.
        explain: every record says how the adapter routed its tokens.
    """

    threshold: Thresholds = field(default_factory=Thresholds)
    end_bias: float = 0.0
    raw_scores: bool = False
    explain: Explain = False

    @classmethod
    def of(cls, **arguments: Unpack[OptionArguments]) -> "AnswerOptions":
        """The options of some arguments.

        Raises:
            ConfigError: a threshold is no number from 0 to 1, the bias is not finite, or `explain` unknown.
        """
        explain = arguments.get("explain", False)
        if explain not in (True, False, "linears"):
            raise ConfigError(f"explain is {show(explain)}; it has to be True, False or 'linears'")
        end_bias = arguments.get("end_bias", 0.0)
        if not isinstance(end_bias, int | float) or not math.isfinite(end_bias):
            raise ConfigError(f"end_bias is {show(end_bias)}; it has to be a finite number, 0 for none")
        return cls(
            threshold=Thresholds.of(arguments.get("threshold")),
            end_bias=float(end_bias),
            raw_scores=arguments.get("raw_scores", False),
            explain=explain,
        )
