"""Divides a long text into windows that a model can read: whole sentences, as many as fit, overlapping.

In: a text, what counts its tokens, and how many a window may have. Out: spans, one at a time. The text is
read block by block as the windows are asked for, in linear time: neither its tokens nor its sentences are
ever all in memory. What the model makes of a window is not known here; `merging` puts it together.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence

from ucuie.schema import Span
from ucuie.sentences import Border, inner_border, is_grapheme_end, sentence_ends

TokenStarts = Callable[[str], Sequence[int]]
"""Where each token of a text begins, in code points, ascending; those within a character begin with it."""

OVERLAP_SENTENCES = 2
"""So many sentences of a window stand in the next one as well, if they fill no more than a third of it."""

_BLOCK_CHARACTERS = 8_192
_BLANKS = re.compile(r"\s*")


def split_windows(
    text: str, token_starts: TokenStarts, max_tokens: int, *, max_whole: int | None = None
) -> Iterator[Span]:
    """The windows of a text, which hold all of it but blanks around them; starts and ends ascend.

    A text that fits is one window, blanks and all. Other windows begin and end with a sentence. Only a
    sentence that fits in no window is divided, at its best places (`sentences.inner_border`); of a window
    that begins there, an eighth to a quarter stands in the one before.

    Args:
        text: may be blank, then there are no windows.
        token_starts: counts the tokens. Blocks of the text are counted by themselves, so that a window may
            have a few tokens more or less when it is counted alone.
        max_tokens: of a window, at least 1; a single character may have more.
        max_whole: of a text that is one window; None for as many.
    """
    tokens = _Tokens(text, token_starts)
    if tokens.end_of(0, max_whole or max_tokens) == len(text):
        if text.strip():
            yield 0, len(text)
        return
    cutter = _Cutter(text, tokens, max_tokens)
    covered = _skip_blanks(text, 0)
    previous_start = -1
    while covered < len(text):
        start, end = cutter.next_window(covered, previous_start)
        # Blank only where a blank was too long to be left with the accent it carries.
        if window := text[start:end].rstrip():
            yield start, start + len(window)
        covered, previous_start = _skip_blanks(text, end), start
        cutter.forget(start)


class _Cutter:
    """Chooses windows; knows the sentences and tokens around the place where it is."""

    def __init__(self, text: str, tokens: "_Tokens", max_tokens: int) -> None:
        self._text = text
        self._tokens = tokens
        self._sentences = _Sentences(text)
        self._max_tokens = max_tokens

    def next_window(self, covered: int, previous_start: int) -> Span:
        """The window that goes on from `covered`; it begins before, as far as that divides nothing more."""
        border, end = self._best_end(covered, covered)
        is_within_sentence = self._sentences.starts_up_to(covered, 1) != [covered]
        # What is divided already may be divided once more for the sake of the overlap.
        is_dividing = is_within_sentence or border < Border.SENTENCE
        worst = min(border, Border.BLANK) if is_dividing else border
        for start in self._earlier_starts(covered):
            if start > previous_start:
                earlier_border, earlier_end = self._best_end(start, covered)
                if earlier_border >= worst:
                    return start, earlier_end
        return covered, end

    def forget(self, position: int) -> None:
        """Let go of what is before a position."""
        self._tokens.forget(position)
        self._sentences.forget(position)

    def _best_end(self, start: int, covered: int) -> tuple[Border, int]:
        """Where a window that begins at `start` ends best, behind `covered`."""
        limit = max(self._tokens.end_of(start, self._max_tokens), covered + 1)
        end = self._sentences.last_end(covered, limit)
        return inner_border(self._text, covered, limit) if end is None else (Border.SENTENCE, end)

    def _earlier_starts(self, covered: int) -> Iterator[int]:
        """Where the window that goes on from `covered` may begin before it; the best first."""
        *before, sentence = self._sentences.starts_up_to(covered, OVERLAP_SENTENCES + 1)
        if sentence == covered:
            earliest = self._tokens.start_of(covered, self._max_tokens // 3)
            yield from (_skip_blanks(self._text, start) for start in before if start >= earliest)
            return
        earliest = max(sentence, self._tokens.start_of(covered, self._max_tokens // 4))
        latest = self._tokens.start_of(covered, self._max_tokens // 8)
        if earliest < latest:
            border, start = inner_border(self._text, earliest, latest)
            if border > Border.GRAPHEME:
                yield _skip_blanks(self._text, start)


class _Tokens:
    """Where the tokens of a text begin, from some place on, read as far as needed."""

    def __init__(self, text: str, token_starts: TokenStarts) -> None:
        self._text = text
        self._token_starts = token_starts
        self._starts: list[int] = []
        self._num_read = 0
        """Characters."""

    def end_of(self, start: int, num_tokens: int) -> int:
        """The end of so many tokens from `start` on, or of the text."""
        while True:
            index = bisect_left(self._starts, start) + num_tokens
            if index < len(self._starts):
                return self._starts[index]
            if self._num_read == len(self._text):
                return len(self._text)
            self._read_block()

    def start_of(self, end: int, num_tokens: int) -> int:
        """The start of so many tokens up to `end`, or of what is remembered; for no tokens, `end`."""
        index = bisect_left(self._starts, end)
        return self._starts[max(index - num_tokens, 0)] if num_tokens > 0 and index else end

    def forget(self, position: int) -> None:
        del self._starts[: bisect_left(self._starts, position)]

    def _read_block(self) -> None:
        start = self._num_read
        end = min(start + _BLOCK_CHARACTERS, len(self._text))
        if end < len(self._text):
            # Tokens begin with the blank before a word, so that one between blocks is counted as it would be.
            blank = max(self._text.rfind(" ", start + 1, end), self._text.rfind("\n", start + 1, end))
            end = blank if blank > 0 else end
        self._starts += (start + offset for offset in self._token_starts(self._text[start:end]))
        self._num_read = end


class _Sentences:
    """The borders of the sentences of a text, from some place on, read as far as needed."""

    def __init__(self, text: str) -> None:
        self._rest = sentence_ends(text)
        self._borders = [0]
        self._length = len(text)

    def last_end(self, after: int, limit: int) -> int | None:
        """The last end of a sentence with after < end <= limit, if there is one."""
        while self._borders[-1] <= limit and self._borders[-1] < self._length:
            self._borders.append(next(self._rest))
        end = self._borders[bisect_right(self._borders, limit) - 1]
        return end if end > after else None

    def starts_up_to(self, position: int, count: int) -> list[int]:
        """The last starts of sentences that are not behind a position, ascending; at least one."""
        index = bisect_right(self._borders, position)
        return self._borders[max(index - count, 0) : index]

    def forget(self, position: int) -> None:
        # The last border before the position is the start of the sentence that it is in.
        del self._borders[: bisect_right(self._borders, position) - 1]


def _skip_blanks(text: str, position: int) -> int:
    """The first place from a position on where no blank begins; an accent keeps the blank that carries it."""
    match = _BLANKS.match(text, position)
    assert match is not None
    end = match.end()
    return end - 1 if position < end < len(text) and not is_grapheme_end(text, end) else end
