"""A text on its way to an extraction: the windows that a model can read, and what was found in them.

A schema that is too large to be asked for at once makes groups of its frames, each a document of its own. No
model is known here: how a part is asked for, what was answered, and whether it has to be divided, is told.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ucuie.engine.requests import Request
from ucuie.extract.query import Query
from ucuie.extract.result import Extraction
from ucuie.language.linearize import order_records
from ucuie.language.merging import RecordMerger
from ucuie.language.windows import TokenStarts, split_windows
from ucuie.schema import Dropped, Record, Schema, Span
from ucuie.schema.capabilities import located_schema

Found = tuple[tuple[Record, ...], tuple[Dropped, ...]]
"""Records, and what else was said."""

RAN_ON = "the output did not come to an end"
LONGEST_QUOTE = 200
"""Characters of what a model wrote that are told of what is dropped."""
_MOST_OUTPUT_PER_TEXT = 8


@dataclass(frozen=True)
class Answer:
    """The records of a window; offsets count from the window's start.

    Args:
        records: in the order of the output language.
        dropped: what else was written.
        truncated: the output was cut at the limit that was asked for, or there is none.
        log_probability: the output's, of all its choices.
        alternatives: what other outputs say, likeliest first; they have none of their own.
    """

    records: tuple[Record, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    truncated: bool = False
    log_probability: float = 0.0
    alternatives: tuple["Answer", ...] = ()


@dataclass(eq=False)
class Part:
    """A window of a document: to be answered, or in pieces where one answer is not enough.

    Args:
        document: the text that it is a window of.
        window: in code points of that text.
        is_last: no window of the text follows; false for pieces.
        request: what a model here is to generate for it.
        pieces: if there are any, they stand for it.
        answer: what was found in it.
    """

    document: "Document"
    window: Span
    is_last: bool = False
    request: Request = field(init=False, repr=False)
    pieces: Sequence["Part"] = ()
    answer: Answer | None = None

    @property
    def text(self) -> str:
        """The characters of the window."""
        return self.document.query.text[self.window[0] : self.window[1]]

    @property
    def is_whole_text(self) -> bool:
        """Tell whether the text is read in this one window."""
        return self.window == (0, len(self.document.query.text))

    def leaves(self) -> Iterator["Part"]:
        """The part itself, or its pieces, in the order of the text."""
        if not self.pieces:
            yield self
        for piece in self.pieces:
            yield from piece.leaves()

    def is_answered(self) -> bool:
        """Tell whether the part, or every piece of it, has its answer."""
        return all(leaf.answer is not None for leaf in self.leaves())

    def divide(self) -> bool:
        """Makes pieces of two thirds of the part; false if there is nothing to divide."""
        document, (start, end) = self.document, self.window
        most = max(len(document.token_starts(self.text)) * 2 // 3, 1)
        windows = [
            (start + piece_start, start + piece_end)
            for piece_start, piece_end in split_windows(self.text, document.token_starts, most)
        ]
        self.pieces = [document.part(window) for window in windows if window != (start, end)]
        return bool(self.pieces)


class Document:
    """A query being answered.

    Args:
        query: with a text that is not blank and can be encoded.
        token_starts: measures the text: in tokens, or in characters.
        window: of a text that is divided, in that measure.
        whole: of a text that is read as a whole; None for as much as a window.
        prepare: called with each part before it is given out; may divide it.
    """

    def __init__(
        self,
        query: Query,
        token_starts: TokenStarts,
        *,
        window: int,
        whole: int | None = None,
        prepare: Callable[[Part], None] | None = None,
    ) -> None:
        self.query = query
        self.token_starts = token_starts
        self.is_finished = False
        """All parts were added."""
        self.whole: Answer | None = None
        """The answer where the text was read as a whole."""
        self.dropped: list[Dropped] = []
        self.truncated = False
        self.seconds = 0.0
        self._window = window
        self._whole = whole
        self._prepare = prepare
        self._merger = RecordMerger(query.asked, types_only=query.task == "judging")

    def parts(self) -> Iterator[Part]:
        """A part for each window, in the order of the text; raises what preparing them does."""
        windows = split_windows(self.query.text, self.token_starts, self._window, max_whole=self._whole)
        window = next(windows, None)
        while window is not None:
            following = next(windows, None)
            yield self.part(window, is_last=following is None)
            window = following

    def part(self, window: Span, *, is_last: bool = False) -> Part:
        """The part for a window, prepared."""
        part = Part(self, window, is_last)
        if self._prepare is not None:
            self._prepare(part)
        return part

    def add(self, part: Part, seconds: float = 0.0) -> None:
        """Take the answer to a part; parts come in the order of `parts`."""
        self._merger.settle(part.window[0])
        for leaf in part.leaves():
            assert leaf.answer is not None
            self._merger.add(leaf.window, leaf.answer.records)
            self.dropped += leaf.answer.dropped
            self.truncated |= leaf.answer.truncated
        if part.is_whole_text:
            self.whole = part.answer
        self.seconds += seconds
        self.is_finished = part.is_last

    def merged(self) -> tuple[Record, ...]:
        """The records of all windows as those of one text; once, and after the last was added."""
        return self._merger.finish()


def extraction_of(
    documents: Sequence[Document], found: Sequence[Found], *, model: str, seconds: float
) -> Extraction:
    """The extraction of a text, for all groups of the schema: in each of its documents, all finished."""
    query = documents[0].query
    return Extraction(
        id=query.id,
        text=query.text,
        records=merge_groups([records for records, _ in found], [one.query.asked for one in documents]),
        dropped=tuple(one for _, dropped in found for one in dropped),
        truncated=any(document.truncated for document in documents),
        model=model,
        seconds=round(seconds, 6),
    )


def split_schema(schema: Schema, fits: Callable[[Schema], bool]) -> list[Schema]:
    """The schema's frames in their order, halved until each group fits or is a single frame."""
    if len(schema.frames) == 1 or fits(schema):
        return [schema]
    middle = (len(schema.frames) + 1) // 2
    halves = (schema.frames[:middle], schema.frames[middle:])
    return [group for half in halves for group in split_schema(Schema(frames=half), fits)]


def group_queries(query: Query, groups: Sequence[Schema]) -> Iterator[Query]:
    """The query once for each group, with the elements that are of it; of one group the query itself."""
    if len(groups) == 1:
        yield query
        return
    for group in groups:
        elements = query.elements
        if elements is not None:
            names = located_schema(group, has_evoked_frames=True).frame_names
            elements = tuple(element for element in elements if element.frame in names)
        yield replace(query, schema=group, elements=elements)


def merge_groups(groups: Sequence[Sequence[Record]], schemas: Iterable[Schema]) -> tuple[Record, ...]:
    """The records of all groups in the order of the output.

    A group does not know what the others offer: of groups that claim the same words for a frame, the one that
    is surest of it keeps its records; the first, where there are no scores.
    """
    if len(groups) == 1:
        return tuple(groups[0])
    surest: dict[Span, tuple[float, int]] = {}
    for index, records in enumerate(groups):
        for record in records:
            if record.filler is not None:
                claim = (record.score or 0.0, -index)
                surest[record.filler.span] = max(surest.get(record.filler.span, claim), claim)
    kept = [
        record
        for index, records in enumerate(groups)
        for record in records
        if record.filler is None or surest[record.filler.span][1] == -index
    ]
    frames = {frame.name: frame for schema in schemas for frame in schema.frames}
    return order_records(kept, Schema(frames=tuple(frames.values())))


def ran_on(output: str) -> Dropped:
    """The end of an output that was cut where its model had more to write, as what is dropped."""
    return Dropped(reason=RAN_ON, value=output[-LONGEST_QUOTE:])


def is_in_circles(output_length: int, text_length: int) -> bool:
    """Tell whether a cut output is no answer, however long it may get; both lengths are in the same unit."""
    return output_length > _MOST_OUTPUT_PER_TEXT * text_length
