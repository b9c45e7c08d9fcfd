"""What may be asked of an answer beside text and schema: least scores, raw ones, reasons, alternatives."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, TypedDict, TypeVar, Unpack

from ucuie.errors import ConfigError, show
from ucuie.thresholds import Thresholds, ThresholdSource

Explain = bool | Literal["linears"]
"""Whether records carry an explanation, and with "linears" one for each adapted linear as well."""


_Count = TypeVar("_Count", int, int | None)


def positive(name: str, value: _Count) -> _Count:
    """A number of something, as it is.

    Raises:
        ConfigError: there is less than one of it.
    """
    if value is not None and value < 1:
        raise ConfigError(f"{name} is {value:,}; it has to be at least 1")
    return value


class OptionArguments(TypedDict, total=False):
    """The options as the methods of `Extractor` take them; see `AnswerOptions`."""

    threshold: ThresholdSource
    end_bias: float
    raw_scores: bool
    explain: Explain
    n_best: int


END_BIASES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Those that a model's own is chosen from; most models end too early."""


@dataclass(frozen=True)
class OperatingPoint:
    """Where a model stands between precision and recall, unless an answer is asked for elsewhere.

    Args:
        end_bias: in logits, by how much beginning another record is favoured over ending.
        threshold: the least calibrated score that is kept, for all types; 0 keeps everything.
    """

    end_bias: float = 0.0
    threshold: float = 0.0


@dataclass(frozen=True)
class AnswerOptions:
    """How one text is to be answered.

    Args:
        threshold: the least scores that are kept; types without one go by the model's own, and 0
            keeps everything.
        end_bias: added to the model's own. Above 0 the model goes on for longer, for more recall; below 0 it
            ends sooner, for more precision. In logits: 2 makes "another record" e^2 = 7.4 times as likely
            against "the end".
        raw_scores: scores are the model's own probabilities, even where the model has a calibration;
            its own threshold, which counts calibrated scores, is left aside.
        explain: every record says how the adapter routed its tokens.
        n_best: the most answers to a text, the one that is given and its alternatives together. Above 1 so
            many beams look for the likeliest output, which may be another one than the greedy search of 1
            finds, and time grows with them. A text that is read in several windows has no alternatives,
            since each window has an answer of its own: it is answered as with 1, and `dropped` says so.
    """

    threshold: Thresholds = field(default_factory=Thresholds)
    end_bias: float = 0.0
    raw_scores: bool = False
    explain: Explain = False
    n_best: int = 1

    @classmethod
    def of(cls, **arguments: Unpack[OptionArguments]) -> "AnswerOptions":
        """The options of some arguments.

        Raises:
            ConfigError: a threshold is no number from 0 to 1, the bias is not finite, `explain` unknown, or
                `n_best` not positive.
        """
        explain = arguments.get("explain", False)
        if explain not in (True, False, "linears"):
            raise ConfigError(f"explain is {show(explain)}; it has to be True, False or 'linears'")
        end_bias = arguments.get("end_bias", 0.0)
        if not isinstance(end_bias, int | float) or not math.isfinite(end_bias):
            raise ConfigError(f"end_bias is {show(end_bias)}; it has to be a finite number, 0 for none")
        n_best = arguments.get("n_best", 1)
        if not isinstance(n_best, int) or isinstance(n_best, bool) or n_best < 1:
            raise ConfigError(
                f"n_best is {show(n_best)}; it has to be a whole number of answers, 1 for no alternatives"
            )
        return cls(
            threshold=Thresholds.of(arguments.get("threshold")),
            end_bias=float(end_bias),
            raw_scores=arguments.get("raw_scores", False),
            explain=explain,
            n_best=n_best,
        )

    def at(self, point: OperatingPoint) -> "AnswerOptions":
        """The options for a model that stands at this point.

        Its threshold counts calibrated scores: where raw ones are asked for, nothing goes by it.
        """
        return replace(
            self,
            threshold=self.threshold if self.raw_scores else self.threshold.or_else(point.threshold),
            end_bias=self.end_bias + point.end_bias,
        )
