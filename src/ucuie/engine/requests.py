"""What goes into the decoder and what comes out of it: requests, choices, outputs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHORTEST_OUTPUT = len("{}")
"""Tokens: a prompt that leaves less room than this in the model's context is refused."""


@dataclass(frozen=True)
class Request:
    """One output to be written.

    Args:
        instruction_ids: the tokens of the instruction and schema, at least one.
        text_ids: the tokens of the text, fed after the instruction.
        grammar: what may be written, from `build_grammar`.
        capability_labels: what the gates of a hard router are; no other router reads them.
        end_bias: by how much the logits of beginning another frame are raised over those of ending: above 0
            the output goes on for longer and says more, below 0 it ends sooner. The probabilities of the
            choices are those without it.
        num_beams: 1 writes the likeliest token at each choice; more search for the likeliest outputs.
    """

    instruction_ids: Sequence[int]
    text_ids: Sequence[int]
    grammar: str
    capability_labels: tuple[float, ...] | None = None
    end_bias: float = 0.0
    num_beams: int = 1


@dataclass(frozen=True, eq=False)
class Choice:
    """The probabilities of the model where the grammar left it a choice.

    Args:
        position: which token of the output was chosen here.
        token: the token chosen.
        allowed: the token ids that the grammar allowed, ascending; at least two.
        log_probabilities: of each allowed token, among the allowed ones (float64).
        log_mass: the logarithm of the probability that the model gave to all allowed tokens together; far
            below 0 where the model is out of its depth.
    """

    position: int
    token: int
    allowed: NDArray[np.intp]
    log_probabilities: NDArray[np.float64]
    log_mass: float

    @property
    def log_probability(self) -> float:
        """How likely the chosen token was, among the allowed ones."""
        return float(self.log_probabilities[np.searchsorted(self.allowed, self.token)])


@dataclass(frozen=True, eq=False)
class Output:
    """A whole output, or its beginning where the budget ended it (`truncated`).

    Args:
        text: the tokens, decoded.
        tokens: all of them, forced ones included.
        choices: those that the grammar left open, in order.
        truncated: the budget ended it.
        alternatives: the next likeliest outputs of a beam search, likeliest first.
    """

    text: str
    tokens: tuple[int, ...]
    choices: tuple[Choice, ...]
    truncated: bool
    alternatives: tuple["Output", ...] = ()

    @property
    def log_probability(self) -> float:
        """How likely all choices together were."""
        return sum(choice.log_probability for choice in self.choices)
