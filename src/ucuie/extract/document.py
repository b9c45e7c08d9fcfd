"""A text on its way to an extraction: the parts that a model can read, and what was found in them.

In: a query and how much a part may hold. Out: a request for each window of the text, in order and when asked
for; then, from the answers, what was found in the whole text. Knows no model: what became of a request, and
whether a part has to be divided, is told to it.
What an output is worth that did not come to an end is the same for a model here and for one elsewhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ucuie.engine.requests import Request
from ucuie.errors import TextError, show
from ucuie.extract.query import Query
from ucuie.language.encode import PromptEncoder
from ucuie.language.grammar import build_grammar
from ucuie.language.merging import RecordMerger, shift_record
from ucuie.language.windows import split_windows
from ucuie.schema import Dropped, Record, Span
from ucuie.schema.capabilities import capability_labels


@dataclass(frozen=True)
class Room:
    """How many tokens a text may have, at least 1.

    Args:
        whole: to be read as a whole; a longer one is divided.
        window: of the windows it is divided into; at most `whole`.
        prompt: with its elements and line ends, to be read at all.
    """

    whole: int
    window: int
    prompt: int


@dataclass(frozen=True)
class Answer:
    """What was found in a window; offsets count from the window's start.

    Args:
        records: in the order of the output language.
        dropped: what else was written.
        truncated: the output was cut at the limit that was asked for.
        log_probability: of the output.
        alternatives: what other outputs say, likeliest first; they have none of their own.
    """

    records: tuple[Record, ...]
    dropped: tuple[Dropped, ...]
    truncated: bool
    log_probability: float
    alternatives: tuple["Answer", ...] = ()


@dataclass(eq=False)
class Part:
    """A window of a document: a request to be answered, or pieces where one answer is not enough.

    Args:
        document: whose text it is of.
        window: in code points of that text.
        is_last: no window of the text follows.
        request: what to generate for it.
        pieces: if there are any, they stand for it.
        answer: to the request.
    """

    document: "Document"
    window: Span
    is_last: bool
    request: Request
    pieces: Sequence["Part"] = ()
    answer: Answer | None = None

    @property
    def text(self) -> str:
        """What the window shows."""
        return self.document.query.text[self.window[0] : self.window[1]]

    def leaves(self) -> Iterator["Part"]:
        """The part itself, or its pieces, in the order of the text."""
        if not self.pieces:
            yield self
        for piece in self.pieces:
            yield from piece.leaves()

    def is_answered(self) -> bool:
        """Whether the part, or every piece of it, has its answer."""
        return all(leaf.answer is not None for leaf in self.leaves())

    def divide(self) -> bool:
        """Makes pieces of two thirds of the part; false if there is nothing to divide."""
        self.pieces = tuple(self.document.pieces(self))
        return bool(self.pieces)


class Document:
    """A query being answered.

    Args:
        query: with a text that is not blank and can be encoded.
        instruction_ids: the tokens of the query's instruction.
        encoder: makes tokens of the text.
        room: for the text.
    """

    def __init__(
        self, query: Query, instruction_ids: Sequence[int], encoder: PromptEncoder, room: Room
    ) -> None:
        self.query = query
        self.is_finished = False
        """All parts were added: the fields below say what was found in the whole text."""
        self.whole: Answer | None = None
        """The answer where the text was read as a whole."""
        self.records: tuple[Record, ...] = ()
        self.dropped: list[Dropped] = []
        self.truncated = False
        self.seconds = 0.0
        self._instruction_ids = instruction_ids
        self._encoder = encoder
        self._room = room
        self._merger = RecordMerger(query.asked, types_only=query.task == "judging")

    def parts(self) -> Iterator[Part]:
        """A part for each window, in the order of the text, each divided until it can be read.

        Raises:
            TextError: a single character and its elements are more than the context holds.
        """
        windows = split_windows(
            self.query.text, self._encoder.token_starts, self._room.window, max_whole=self._room.whole
        )
        window = next(windows, None)
        while window is not None:
            following = next(windows, None)
            yield self._part(window, is_last=following is None)
            window = following

    def pieces(self, part: Part) -> Iterator[Part]:
        """Parts for the windows of a part's text that are shorter than itself, if there are any."""
        start, end = part.window
        num_tokens = len(self._encoder.token_starts(part.text))
        for piece_start, piece_end in split_windows(
            part.text, self._encoder.token_starts, max(num_tokens * 2 // 3, 1)
        ):
            piece = (start + piece_start, start + piece_end)
            if piece != (start, end):
                yield self._part(piece, is_last=False)

    def add(self, part: Part, seconds: float) -> None:
        """Take the answer to a part; parts come in the order of `parts`."""
        is_whole_text = part.window == (0, len(self.query.text)) and not part.pieces
        self._merger.settle(part.window[0])
        for leaf in part.leaves():
            assert leaf.answer is not None
            if is_whole_text:
                self.whole = leaf.answer
                self.records = leaf.answer.records
            else:
                self._merger.add(leaf.window, leaf.answer.records)
            self.dropped += leaf.answer.dropped
            self.truncated |= leaf.answer.truncated
        self.seconds += seconds
        if part.is_last:
            self.records = self.records if is_whole_text else self._merger.finish()
            self.is_finished = True

    def _part(self, window: Span, *, is_last: bool) -> Part:
        text = self.query.text[window[0] : window[1]]
        elements = None if self.query.elements is None else elements_within(self.query.elements, text, window)
        request = Request(
            instruction_ids=self._instruction_ids,
            text_ids=self._encoder.encode_text(text, elements),
            grammar=build_grammar(self.query.asked, text, self.query.task, elements=elements),
            capability_labels=capability_labels(self.query.task),
            end_bias=self.query.options.end_bias,
            # Answers to windows have no order in common, so that only a whole text has alternatives.
            num_beams=self.query.options.n_best if window == (0, len(self.query.text)) else 1,
        )
        part = Part(self, window, is_last, request)
        # Blocks of the text were counted without the elements, and apart from what stands before them.
        if len(request.text_ids) > self._room.prompt and not part.divide():
            raise TextError(
                f"{show(text)} has {len(request.text_ids):,} tokens with its elements, and the model's "
                f"context leaves room for {self._room.prompt:,}; give fewer elements at once"
            )
        return part


def elements_within(elements: Sequence[Record], text: str, window: Span) -> tuple[Record, ...]:
    """The located spans for a window: those in it, and those whose string occurs in it too.

    Args:
        elements: with offsets in the whole text.
        text: of the window.
        window: where it stands.
    """
    within: list[Record] = []
    elsewhere: list[Record] = []
    for element in elements:
        is_within = all(window[0] <= own.start and own.end <= window[1] for own in element.fillers())
        (within if is_within else elsewhere).append(element)
    found = [shift_record(element, -window[0]) for element in within]
    seen = {(element.frame, own.text) for element in found for own in element.fillers()}
    for element in elsewhere:
        for own in element.fillers():
            start = text.find(own.text)
            if start >= 0 and (element.frame, own.text) not in seen:
                seen.add((element.frame, own.text))
                place = own.model_copy(update={"start": start, "end": start + len(own.text)})
                found.append(Record(frame=element.frame, filler=place))
    return tuple(found)


RAN_ON = "the output did not come to an end"
LONGEST_QUOTE = 200
"""Characters of what a model wrote that are told of what is dropped."""
_MOST_OUTPUT_PER_TEXT = 8


def ran_on(output: str) -> Dropped:
    """What is told of an output that was cut where its model had more to write: its end."""
    return Dropped(reason=RAN_ON, value=output[-LONGEST_QUOTE:])


def is_in_circles(output_length: int, text_length: int) -> bool:
    """Whether an output that was cut is no answer, however long it may get: the model goes round in circles.

    Args:
        output_length: tokens, or characters.
        text_length: of the text it is about, in the same unit.
    """
    return output_length > _MOST_OUTPUT_PER_TEXT * text_length
