"""What an extractor answers about one text: an `Extraction`, as object, JSON line or HTML.

Different outputs can say the same: in other tokens, in another order, or after some records fell below their
threshold. They are one answer then, as likely as all of them together.
"""

import math
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ucuie.extract.html import render_fragment, render_report
from ucuie.schema import IS_NONE, Dropped, Filler, Record


class Alternative(BaseModel):
    """Another answer to the same text.

    Args:
        records: as those of an `Extraction`, and never the same as those of another answer to the text.
        dropped: what was written beside the records, with the reason.
        score: the share of its outputs in the probability of all outputs found for the text, from 0 to 1;
            what is missing to 1 belongs to the main answer and the other alternatives.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    records: tuple[Record, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    score: float = Field(ge=0, le=1)


class Extraction(BaseModel):
    """The records of a text and how they came about; one line of `ucuie extract`.

    Args:
        id: the text's, from the file or the call.
        text: what was extracted from; `text[start:end]` is the text of every filler.
        records: by the start of their first span, then in schema order.
        dropped: what the model wrote that has no place in the text or schema, with the reason.
        truncated: an output was cut at the limit that was asked for; records may be missing.
        model: the name of the model that answered.
        seconds: wall-clock time; of texts, or windows of texts, extracted together each has an equal share.
        alternatives: other answers, likeliest first; only where they were asked for and the text was read as
            a whole.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    text: str
    records: tuple[Record, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    truncated: bool = False
    model: str
    seconds: float = Field(ge=0)
    alternatives: tuple[Alternative, ...] | None = Field(default=None, exclude_if=IS_NONE)

    def to_dict(self) -> dict[str, Any]:
        """The extraction in plain types, shaped as its JSON line."""
        return self.model_dump(mode="json")

    def to_json(self) -> str:
        """The extraction as one JSON line, without the line end."""
        return self.model_dump_json()

    def to_html(self) -> str:
        """A page of its own that shows the text with its records, to write to a file."""
        return render_report([self])

    def _repr_html_(self) -> str:
        """What notebooks show."""
        return render_fragment([self])


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
