"""How sure the model was: from the choices of an output to a score for every filler and record.

Only choices count: what the grammar forces is certain, whatever the model thinks of it. A token can decide
more than one thing, such as the end of a filler and the beginning of the next slot: its probability is
divided by that of all allowed tokens which agree with it up to the border.

Scores are raw: products of probabilities renormalised over what the grammar allows, not yet calibrated.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

import numpy as np

from ucuie.engine.grammar_state import GrammarFactory
from ucuie.engine.requests import Output
from ucuie.language.align import Alignment
from ucuie.language.linearize import ParsedFrame, ParsedSlot
from ucuie.schema import Filler, Record

DECIMALS = 6
"""Of a score; what follows depends on which texts shared a batch (float32)."""


def score_records(
    output: Output, frames: Sequence[ParsedFrame], alignment: Alignment, grammars: GrammarFactory
) -> tuple[Record, ...]:
    """The aligned records with scores in [0, 1].

    The score of a frame's filler is the probability of these characters and of stopping after them (and of
    not writing Null), given the frame's type; that of a slot's filler counts the choice of the slot as well.
    The score of a record is the probability of all of it: that there is another frame, of this type, with
    this filler and these slots, and no more of them.
    """
    likelihood = _Likelihood(output, grammars)
    written = {frame.name_range: frame for frame in frames}
    return tuple(
        _scored(record, aligned, written[aligned.name_range], likelihood)
        for record, aligned in zip(alignment.records, alignment.frames, strict=True)
    )


def _scored(record: Record, aligned: ParsedFrame, written: ParsedFrame, likelihood: "_Likelihood") -> Record:
    slot_scores = [likelihood.of_name(slot) + likelihood.of_filler(slot) for slot in aligned.slots]
    filler_score = likelihood.of_filler(aligned)
    total = likelihood.of_name(aligned) + filler_score + sum(slot_scores) + likelihood.of_end(written)
    slots = tuple(
        filled.model_copy(update={"filler": _with_score(filled.filler, score)})
        for filled, score in zip(record.slots, slot_scores, strict=True)
    )
    return record.model_copy(
        update={
            "filler": _with_score(record.filler, filler_score),
            "slots": slots,
            "score": _probability(total),
        }
    )


def _with_score(filler: Filler | None, log_probability: float) -> Filler | None:
    if filler is None:
        return None
    return filler.model_copy(update={"score": _probability(log_probability)})


def _probability(log_probability: float) -> float:
    return round(min(math.exp(log_probability), 1.0), DECIMALS)


class _Likelihood:
    """Log-probabilities of the parts of an output that its grammar wrote."""

    def __init__(self, output: Output, grammars: GrammarFactory) -> None:
        self._text = output.text
        self._grammars = grammars
        self._choices = output.choices
        # Where each choice begins and ends in the output, and each character, in bytes.
        token_bounds = byte_bounds(grammars.token_bytes(token) for token in output.tokens)
        self._starts = [token_bounds[choice.position] for choice in output.choices]
        self._ends = [token_bounds[choice.position + 1] for choice in output.choices]
        self._characters = byte_bounds(character.encode() for character in output.text)

    def of_name(self, element: ParsedFrame | ParsedSlot) -> float:
        """That there is another frame or slot, and that it is of this type."""
        start = element.name_range[0] - len("(")
        if self._text.endswith(", ", 0, start):
            start -= len(", ")
        return self._between(start, element.name_range[1] + len(":"))

    def of_filler(self, element: ParsedFrame | ParsedSlot) -> float:
        """These characters, or Null, and the end of the filler."""
        return self._between(element.name_range[1] + len(":"), element.filler_range[1] + len(")"))

    def of_end(self, frame: ParsedFrame) -> float:
        """That the frame has no more slots."""
        last = frame.slots[-1] if frame.slots else frame
        start = last.filler_range[1] + len(")")
        return self._between(start, start + len("]" if frame.slots else ": []"))

    def _between(self, start: int, end: int) -> float:
        """What the choices decided about `text[start:end]`, given all that stands before it."""
        start, end = self._characters[start], self._characters[end]
        touching = range(bisect_left(self._ends, start), bisect_left(self._starts, end))
        return sum(self._agreement(index, end) - self._agreement(index, start) for index in touching)

    def _agreement(self, index: int, end: int) -> float:
        """How likely a choice was to fall on a token that agrees with the output up to byte `end`.

        Up to its own end all longer tokens agree as well. That none of them was chosen says something about
        what follows: `)` instead of `),` is the first word about there being no more slots.
        """
        choice = self._choices[index]
        if end <= self._starts[index]:
            return 0.0
        if end > self._ends[index]:
            return choice.log_probability
        beginning = self._grammars.token_bytes(choice.token)[: end - self._starts[index]]
        agrees = [self._grammars.token_bytes(int(token)).startswith(beginning) for token in choice.allowed]
        return float(np.logaddexp.reduce(choice.log_probabilities[agrees]))


def byte_bounds(parts: Iterable[bytes]) -> list[int]:
    """The starts of all parts when they are joined, and the end of the last."""
    return list(accumulate(map(len, parts), initial=0))
