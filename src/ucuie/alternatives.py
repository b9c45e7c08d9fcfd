"""Several outputs for one text as the answers that they are: different ones, likeliest first.

Different outputs can say the same: in other tokens, in another order, or after some records fell below their
threshold. They are one answer then, as likely as all of them together.
"""

import math
from collections.abc import Sequence

from ucuie.extraction import Alternative
from ucuie.schema import Dropped, Filler, Record

DECIMALS = 6
"""Of a score."""


def rank_answers(
    answers: Sequence[tuple[tuple[Record, ...], tuple[Dropped, ...]]], log_probabilities: Sequence[float]
) -> list[Alternative]:
    """The different answers, likeliest first; their scores sum to 1.

    Args:
        answers: records with what was dropped, at least one, likeliest first; the first of equal ones stays.
        log_probabilities: of the outputs, parallel to the answers.
    """
    highest = max(log_probabilities)
    weights = [math.exp(log_probability - highest) for log_probability in log_probabilities]
    weight_of: dict[frozenset[object], float] = {}
    first_of: dict[frozenset[object], tuple[tuple[Record, ...], tuple[Dropped, ...]]] = {}
    for answer, weight in zip(answers, weights, strict=True):
        said = frozenset(map(_said, answer[0]))
        weight_of[said] = weight_of.get(said, 0.0) + weight
        first_of.setdefault(said, answer)
    # Answers as likely as each other stay in the order in which they were found.
    ranked = sorted(weight_of, key=weight_of.__getitem__, reverse=True)
    return [
        Alternative(
            records=first_of[said][0],
            dropped=first_of[said][1],
            score=round(min(weight_of[said] / sum(weights), 1.0), DECIMALS),
        )
        for said in ranked
    ]


def _said(record: Record) -> object:
    """A record without its scores and reasons."""
    slots = frozenset((filled.slot, _span(filled.filler)) for filled in record.slots)
    return record.frame, _span(record.filler), slots


def _span(filler: Filler | None) -> object:
    return None if filler is None else filler.span
