"""What an extractor answers about one text: an `Extraction`, as object, JSON line or HTML.

In HTML, a self-contained page or a piece of one for notebooks, the text has its spans marked, nested ones
within each other; under it every record is an item of a list, which is also what a screen reader hears. The
template escapes all that comes from texts and models.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from ucuie.schema import IS_NONE, Dropped, Filler, Record, Span
from ucuie.templates import load_template

DECIMALS = 6
"""Of a score."""
_TEMPLATE = Path(__file__).with_name("report.html.jinja")
_GOLDEN_ANGLE = 137.508
_FIRST_HUE = 255.0
_KNOWN_HUES = {"positive": 150.0, "negative": 25.0, "neutral": 255.0}
"""Where a name has a colour of its own for most readers, it gets that."""


class Alternative(BaseModel, frozen=True, extra="forbid"):
    """Another answer to the same text.

    Args:
        records: as those of an `Extraction`, and never the same as those of another answer to the text.
        dropped: what was written beside the records, with the reason.
        score: the share of its outputs in the probability of all outputs found for the text, from 0 to 1;
            what is missing to 1 belongs to the main answer and the other alternatives.
    """

    records: tuple[Record, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    score: float = Field(ge=0, le=1)


class Extraction(BaseModel, frozen=True, extra="forbid"):
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
        return render_report([self], is_page=False)


def rank_answers(
    answers: Sequence[tuple[tuple[Record, ...], tuple[Dropped, ...]]], log_probabilities: Sequence[float]
) -> list[Alternative]:
    """The different answers, likeliest first; their scores sum to 1.

    Different outputs can say the same: in other tokens, in another order, or after some records fell below
    their threshold. They are one answer then, as likely as all of them together.

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
    slots = frozenset((filled.slot, filled.filler and filled.filler.span) for filled in record.slots)
    return record.frame, record.filler and record.filler.span, slots


@dataclass(frozen=True)
class Tag:
    """A name at a marked span: a frame at the text that evokes it, a slot at what fills it."""

    name: str
    frame: str
    is_slot: bool


@dataclass(frozen=True)
class Highlight:
    """A span of the text with all that it fills; `record_indices` count the records of its extraction.

    A span that crosses the end of another is cut there, and its second piece is marked as continued.
    """

    start: int
    end: int
    tags: tuple[Tag, ...]
    record_indices: tuple[int, ...]
    is_continued: bool = False


@dataclass(frozen=True)
class Piece:
    """A step through a marked text: the start or end of a mark, or a stretch of text."""

    kind: Literal["open", "close", "text"]
    text: str = ""
    mark: Highlight | None = None


def render_report(extractions: Sequence[Extraction], *, is_page: bool = True) -> str:
    """A whole page with all it needs in it; or the inside of another one, whose look it leaves alone."""
    counts = Counter(record.frame for extraction in extractions for record in extraction.records)
    return load_template(_TEMPLATE).render(
        extractions=extractions,
        is_page=is_page,
        counts=counts,
        # Neighbours in the list are far apart on the wheel of colours.
        hues={
            frame: _KNOWN_HUES.get(frame.casefold(), (_FIRST_HUE + index * _GOLDEN_ANGLE) % 360)
            for index, frame in enumerate(counts)
        },
        models=list(dict.fromkeys(extraction.model for extraction in extractions)),
        seconds=sum(extraction.seconds for extraction in extractions),
        marked_pieces=marked_pieces,
        mentions_by_frame=_mentions_by_frame,
    )


def marked_pieces(text: str, records: Sequence[Record]) -> Iterator[Piece]:
    """The text in order, cut at the spans of the records; marks are properly nested."""
    position = 0
    open_marks: list[Highlight] = []
    # The outermost of the marks that start at one place comes last, where `pop` takes it.
    waiting = sorted(_marks(records), key=_nesting_order, reverse=True)
    while waiting or open_marks:
        if open_marks and (not waiting or open_marks[-1].end <= waiting[-1].start):
            mark = open_marks.pop()
            yield Piece("text", text[position : mark.end])
            yield Piece("close", mark=mark)
            position = mark.end
            continue
        mark = waiting.pop()
        yield Piece("text", text[position : mark.start])
        position = mark.start
        if open_marks and open_marks[-1].end < mark.end:
            border = open_marks[-1].end
            waiting.append(replace(mark, start=border, is_continued=True))
            waiting.sort(key=_nesting_order, reverse=True)
            mark = replace(mark, end=border)
        open_marks.append(mark)
        yield Piece("open", mark=mark)
    yield Piece("text", text[position:])


def _nesting_order(mark: Highlight) -> tuple[int, int]:
    return mark.start, -mark.end


def _marks(records: Sequence[Record]) -> list[Highlight]:
    """One mark for each distinct span."""
    tags: dict[Span, dict[Tag, None]] = {}
    indices: dict[Span, dict[int, None]] = {}
    for index, record in enumerate(records):
        for tag, filler in _tagged(record):
            tags.setdefault(filler.span, {})[tag] = None
            indices.setdefault(filler.span, {})[index] = None
    return [Highlight(*span, tuple(tags[span]), tuple(indices[span])) for span in tags]


def _tagged(record: Record) -> Iterator[tuple[Tag, Filler]]:
    if record.filler is not None:
        yield Tag(record.frame, record.frame, is_slot=False), record.filler
    for filled in record.slots:
        if filled.filler is not None:
            yield Tag(filled.slot, record.frame, is_slot=True), filled.filler


def _mentions_by_frame(records: Sequence[Record]) -> list[tuple[str, list[tuple[int, Record]]]]:
    """The records that are a filler and nothing else, grouped by frame, each with its index."""
    mentions = [item for item in enumerate(records) if item[1].filler is not None and not item[1].slots]
    order = {record.frame: index for index, record in reversed(mentions)}
    mentions.sort(key=lambda item: order[item[1].frame])
    return [(frame, list(group)) for frame, group in groupby(mentions, key=lambda item: item[1].frame)]
