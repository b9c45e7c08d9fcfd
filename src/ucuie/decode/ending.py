"""Which tokens end an output, and which begin another frame: where a bias on ending has to act.

Token borders do not follow the language: `]}` can be one token or two, and a frame can begin with `{(`.
"""

import re
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ucuie.linearize import parse

_DECISION = re.compile(rb"(.*[\]{])?([},(])", re.DOTALL)
"""The rest of a frame, or the beginning of the output; then the end, or the beginning of another frame."""


def endings(output: str, tokens: Sequence[bytes]) -> NDArray[np.float64]:
    """-1 for each token that ends the output, 1 for one that begins another frame, 0 for what leaves it open.

    Args:
        output: what was written so far.
        tokens: the spellings (N,) of those that may follow.
    """

    @cache
    def is_whole(rest: bytes) -> bool:
        """Whether the output, with the rest, is a list of frames that could end here."""
        text = output + rest.decode(errors="replace")
        return text.strip() == "{" or (text.endswith("]") and not parse(text + "}").dropped)

    leans = np.zeros(len(tokens))
    for index, token in enumerate(tokens):
        decision = _DECISION.match(token)
        if decision is None or not is_whole(decision[1] or b""):
            continue
        # Between frames a bracket stands only where no comma has to come before it.
        leans[index] = -1 if decision[2] == b"}" else 1
    return leans
