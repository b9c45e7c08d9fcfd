"""Which tokens would go on saying the same: a small model left alone repeats itself for ever."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ucuie.decode.state import GrammarFactory
from ucuie.linearize import parse

MAX_COPIES = 4
"""An output may say the same so many times in a row."""
LONGEST_LOOP = 96
"""Tokens of what is said again."""


def repeating_tokens(
    tokens: Sequence[int], allowed: NDArray[np.intp], grammars: GrammarFactory
) -> NDArray[np.bool_]:
    """Which allowed tokens would go on saying the same; never all of them."""
    repeats: NDArray[np.bool_] = allowed == looping_token(tokens, grammars)
    output = grammars.decode(tokens)
    for index in np.flatnonzero(grammars.begins_with_comma[allowed]):
        # A token can end a slot and begin the next, such as "),".
        end_of_slot, _, _ = grammars.token_bytes(int(allowed[index])).partition(b",")
        repeats[index] |= is_said_twice(output + end_of_slot.decode())
    return np.zeros_like(repeats) if repeats.all() else repeats


def is_said_twice(output: str) -> bool:
    """Whether the beginning of an output ends with a slot that the same frame has already, filler and all."""
    if not output.endswith(")"):
        return False
    parsed = parse(output + "]}")
    if parsed.dropped:
        return False
    *earlier, last = parsed.frames[-1].slots
    return last in earlier


def looping_token(tokens: Sequence[int], grammars: GrammarFactory) -> int:
    """The token that would begin or continue the fifth copy of the same elements in a row; -1 if none would.

    What is repeated has a whole `(name: filler)` in it: a text may well say "no no no no no".
    """
    for length in range(1, min(LONGEST_LOOP, len(tokens) // MAX_COPIES) + 1):
        if tokens[-1] != tokens[-1 - length]:
            continue
        copies = tokens[-MAX_COPIES * length :]
        if copies[length:] == copies[:-length]:
            said = grammars.decode(copies[:length])
            if "(" in said and ")" in said:
                return tokens[-length]
    return -1
