"""Extractions for the eye: one self-contained HTML page, or a piece of one for notebooks.

The text has its spans marked, nested ones within each other; under it every record is an item of a list,
which is also what a screen reader hears. The template escapes all that comes from texts and models.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal, Protocol

from ucuie.schema import Filler, Record
from ucuie.templates import load_template

_TEMPLATE = Path(__file__).with_name("report.html.jinja")

_GOLDEN_ANGLE = 137.508
_FIRST_HUE = 255.0
# Where a name has a colour of its own for most readers, it gets that.
_KNOWN_HUES = {"positive": 150.0, "negative": 25.0, "neutral": 255.0}


class Shown(Protocol):
    """What a page shows of an `Extraction`, which shows itself by it and so cannot be named here."""

    @property
    def text(self) -> str: ...  # noqa: D102

    @property
    def records(self) -> tuple[Record, ...]: ...  # noqa: D102

    @property
    def model(self) -> str: ...  # noqa: D102

    @property
    def seconds(self) -> float: ...  # noqa: D102


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


def render_report(extractions: Sequence[Shown]) -> str:
    """A whole page, with everything it needs in it."""
    return _render(extractions, is_page=True)


def render_fragment(extractions: Sequence[Shown]) -> str:
    """The same for the inside of another page, whose own look it leaves alone."""
    return _render(extractions, is_page=False)


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
    tags: dict[tuple[int, int], dict[Tag, None]] = {}
    indices: dict[tuple[int, int], dict[int, None]] = {}
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


def _hues(frames: Sequence[str]) -> Mapping[str, float]:
    """A colour for each frame, in degrees: neighbours in the list are far apart on the wheel."""
    hues = {}
    for index, frame in enumerate(frames):
        hues[frame] = _KNOWN_HUES.get(frame.casefold(), (_FIRST_HUE + index * _GOLDEN_ANGLE) % 360)
    return hues


def _mentions_by_frame(records: Sequence[Record]) -> list[tuple[str, list[tuple[int, Record]]]]:
    """The records that are a filler and nothing else, grouped by frame, each with its index."""
    mentions = [item for item in enumerate(records) if item[1].filler is not None and not item[1].slots]
    order = {record.frame: index for index, record in reversed(mentions)}
    mentions.sort(key=lambda item: order[item[1].frame])
    return [(frame, list(group)) for frame, group in groupby(mentions, key=lambda item: item[1].frame)]


def _render(extractions: Sequence[Shown], *, is_page: bool) -> str:
    counts = Counter(record.frame for extraction in extractions for record in extraction.records)
    return load_template(_TEMPLATE).render(
        extractions=extractions,
        is_page=is_page,
        counts=counts,
        hues=_hues(list(counts)),
        models=list(dict.fromkeys(extraction.model for extraction in extractions)),
        seconds=sum(extraction.seconds for extraction in extractions),
        marked_pieces=marked_pieces,
        mentions_by_frame=_mentions_by_frame,
    )
