"""One output being written: what may come next, what the model chose, what the grammar forced after it.

In: logits wherever the grammar leaves a choice. Out: tokens for the model to read, and in the end an
`Output`. Knows no model and no cache.

Two kinds of tokens are watched: those that end an output or begin another frame, where a bias on ending has
to act, and those that would go on saying the same, as a small model left alone does for ever.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ucuie.engine.cache import Prefix
from ucuie.engine.grammar_state import GrammarFactory, allowed_tokens
from ucuie.engine.requests import Choice, Output, Request
from ucuie.errors import ModelError
from ucuie.language.linearize import parse

NGRAM = 2
"""A draft goes on where the text says the last tokens of the output."""


class Writer:
    """An output being written; it may have as many tokens as the budget."""

    def __init__(self, grammars: GrammarFactory, request: Request, budget: int) -> None:
        self.pending = list(request.text_ids)
        """Tokens that the model has to read before the next choice."""
        self.tokens: list[int] = []
        self.choices: list[Choice] = []
        self.truncated = False
        self.log_probability = 0.0
        """Of all choices so far."""
        self._grammars = grammars
        self.text_ids = request.text_ids
        self._state = grammars.start(request.grammar)
        self._budget = budget
        self._end_bias = request.end_bias
        self._advance()

    @property
    def is_finished(self) -> bool:
        """Complete or cut: there is nothing left to choose."""
        return self._mask is None

    def fork(self) -> "Writer":
        """An independent writer at the same point."""
        twin = object.__new__(Writer)
        twin.__dict__.update(self.__dict__)
        twin.pending, twin.tokens, twin.choices = self.pending[:], self.tokens[:], self.choices[:]
        twin._state = self._state.copy()
        return twin

    def candidates(self, logits: NDArray[np.float32], count: int) -> list[Choice]:
        """The likeliest choices, at most `count`, likeliest first; none goes on saying the same.

        Args:
            logits: (V,), after the pending tokens.
            count: at least 1.
        """
        assert self._mask is not None
        allowed = allowed_tokens(self._mask)
        scores = logits[allowed].astype(np.float64)
        highest = float(logits.max())
        if not (math.isfinite(highest) and math.isfinite(scores.max())):
            raise ModelError(
                "the model computes NaN or infinite numbers: its weights or settings are damaged, or too "
                "large for their dtype; copy or download it again"
            )
        log_allowed = float(np.logaddexp.reduce(scores))
        log_total = highest + float(np.log(np.exp(logits - highest).sum(dtype=np.float64)))
        log_mass = min(log_allowed - log_total, 0.0)
        wanted = scores
        if self._end_bias:
            spellings = [self._grammars.token_bytes(int(token)) for token in allowed]
            wanted = scores + self._end_bias / 2 * endings(self._grammars.decode(self.tokens), spellings)
        fresh = np.where(repeating_tokens(self.tokens, allowed, self._grammars), -np.inf, wanted)
        best = np.argsort(-fresh, kind="stable")[:count] if count > 1 else [np.argmax(fresh)]
        return [
            Choice(len(self.tokens), int(allowed[place]), allowed, scores - log_allowed, log_mass)
            for place in best
            if fresh[place] > -np.inf
        ]

    def write(self, choice: Choice) -> None:
        """Write a chosen token and all that it forces."""
        self.choices.append(choice)
        self.log_probability += choice.log_probability
        self._state.consume([choice.token])
        self.tokens.append(choice.token)
        self.pending = [choice.token]
        self._advance()

    def draft(self, num_tokens: int) -> list[list[int]]:
        """The continuation of an output that goes on copying the text: each choice with all that it forces.

        At most `num_tokens` are guessed, forced ones not counted.
        """
        guess = list(_continuation(self.text_ids, self.tokens[-NGRAM:], num_tokens))
        if not guess or self.is_finished:
            return []
        state = self._state.copy()
        room = self._budget - len(self.tokens)
        steps: list[list[int]] = []
        while guess and state.allows(guess[0]):
            state.consume(guess[:1])
            forced, mask = state.advance()
            step = [guess[0], *forced]
            room -= len(step)
            if mask is None or room < 1:
                break
            steps.append(step)
            # The text may go on otherwise than the grammar, for which it is one place among several.
            guess = guess[len(step) :] if guess[: len(step)] == step else []
        return steps

    def output(self, alternatives: Sequence["Writer"] = ()) -> Output:
        """The output so far."""
        return Output(
            self._grammars.decode(self.tokens),
            tuple(self.tokens),
            tuple(self.choices),
            self.truncated,
            tuple(other.output() for other in alternatives),
        )

    def _advance(self) -> None:
        forced, self._mask = self._state.advance()
        self.tokens += forced
        self.pending += forced
        num_wanted = len(self.tokens) + (self._mask is not None)
        if num_wanted > self._budget:
            del self.tokens[self._budget :]
            self.truncated, self._mask = True, None


class Candidate(NamedTuple):
    """A way to go on with a beam."""

    log_probability: float
    writer: Writer
    choice: Choice


class Search:
    """The beams of one output: the likeliest ways to write it, found together.

    A greedy output is a search of one beam. Scores only fall, so the search is over when no beam can rise
    among the finished ones any more.
    """

    def __init__(self, writer: Writer, width: int) -> None:
        self.width = width
        self.finished: list[Writer] = [writer] if writer.is_finished else []

    def step(self, beams: Sequence[Writer], logits: Sequence[NDArray[np.float32]]) -> list[Candidate]:
        """The candidates that stay, likeliest first; those of one writer follow each other's score."""
        found = [
            Candidate(writer.log_probability + choice.log_probability, writer, choice)
            for writer, scores in zip(beams, logits, strict=True)
            for choice in writer.candidates(scores, self.width)
        ]
        found.sort(key=lambda candidate: -candidate.log_probability)
        return found[: self.width]

    def finish(self, writer: Writer) -> None:
        """Take a finished beam."""
        self.finished.append(writer)
        self.finished.sort(key=lambda one: -one.log_probability)
        del self.finished[self.width :]

    def is_hopeless(self, writer: Writer) -> bool:
        """Tell whether a beam can no longer become one of the outputs."""
        return (
            len(self.finished) == self.width and writer.log_probability <= self.finished[-1].log_probability
        )

    def output(self) -> Output:
        """The likeliest output, with the others as its alternatives."""
        best, *others = self.finished
        return best.output(others)


def _continuation(text_ids: Sequence[int], last: Sequence[int], num_tokens: int) -> Sequence[int]:
    """What follows the last place where the text says `last`."""
    for start in range(len(text_ids) - len(last), -1, -1):
        end = start + len(last)
        if list(text_ids[start:end]) == list(last):
            return text_ids[end : end + num_tokens]
    return ()


@dataclass(eq=False)
class Beam:
    """A beam in its slot.

    Args:
        index: which request it answers.
        prefix: the computed instruction.
        length: tokens in the slot.
        draft: guessed tokens that are read along with the pending ones.
        is_lost: other beams of the search are likelier.
    """

    index: int
    writer: Writer
    search: Search
    prefix: Prefix
    length: int = 0
    draft: list[list[int]] = field(default_factory=list)
    is_lost: bool = False

    @property
    def reads(self) -> list[int]:
        """The tokens of the next forward."""
        return [*self.writer.pending, *(token for step in self.draft for token in step)]

    @property
    def ends(self) -> list[int]:
        """After which of them the model is asked."""
        ends = [len(self.writer.pending) - 1]
        for step in self.draft:
            ends.append(ends[-1] + len(step))
        return ends


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
        """Tell whether the output, with the rest, is a list of frames that could end here."""
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


MAX_COPIES = 4
"""An output may say the same so many times in a row."""
LONGEST_LOOP = 96
"""Tokens of what is said again."""


def repeating_tokens(
    tokens: Sequence[int], allowed: NDArray[np.intp], grammars: GrammarFactory
) -> NDArray[np.bool_]:
    """The allowed tokens that would go on saying the same; never all of them."""
    repeats: NDArray[np.bool_] = allowed == looping_token(tokens, grammars)
    output = grammars.decode(tokens)
    for index in np.flatnonzero(grammars.begins_with_comma[allowed]):
        # A token can end a slot and begin the next, such as "),".
        end_of_slot, _, _ = grammars.token_bytes(int(allowed[index])).partition(b",")
        repeats[index] |= is_said_twice(output + end_of_slot.decode())
    return np.zeros_like(repeats) if repeats.all() else repeats


def is_said_twice(output: str) -> bool:
    """Tell whether a beginning ends with a slot that the same frame has already, filler and all."""
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
