"""Divides a long text into windows that a model can read: whole sentences, as many as fit, overlapping.

In: a text, what counts its tokens, and how many a window may have. Out: spans, one at a time. The text is
read block by block as the windows are asked for, in linear time: neither its tokens nor its sentences are
ever all in memory. What the model makes of a window is not known here; `merging` puts it together.

A text is divided between sentences, and a long sentence between clauses, words, characters. Sentences are
found by rules alone, for no language in particular: a border too few makes a window begin a sentence earlier,
a border too many costs a sentence of context. Nothing here cuts a grapheme, which is what a reader takes for
one character: a letter with its accents, an emoji of several code points.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum

import regex

from ucuie.schema import Span

TokenStarts = Callable[[str], Sequence[int]]
"""Gives the starts of a text's tokens, in code points, ascending; those within a character begin with it."""

OVERLAP_SENTENCES = 2
"""So many sentences of a window stand in the next one as well, if they fill no more than a third of it."""

_BLOCK_CHARACTERS = 8_192
_BLANKS = re.compile(r"\s*")


def split_windows(
    text: str, token_starts: TokenStarts, max_tokens: int, *, max_whole: int | None = None
) -> Iterator[Span]:
    """The windows of a text, which hold all of it but blanks around them; starts and ends ascend.

    A text that fits is one window, blanks and all. Other windows begin and end with a sentence. Only a
    sentence that fits in no window is divided, at its best places (`inner_border`); of a window
    that begins there, an eighth to a quarter stands in the one before.

    Args:
        text: may be blank, then there are no windows.
        token_starts: counts the tokens. Blocks of the text are counted by themselves, so that a window may
            have a few tokens more or less when it is counted alone.
        max_tokens: in a window, at least 1; a single character may have more.
        max_whole: in a text that is one window; None for as many.
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
        """Lets go of all before a position."""
        self._tokens.forget(position)
        self._sentences.forget(position)

    def _best_end(self, start: int, covered: int) -> "tuple[Border, int]":
        """The best end behind `covered` of a window that begins at `start`."""
        limit = max(self._tokens.end_of(start, self._max_tokens), covered + 1)
        end = self._sentences.last_end(covered, limit)
        return inner_border(self._text, covered, limit) if end is None else (Border.SENTENCE, end)

    def _earlier_starts(self, covered: int) -> Iterator[int]:
        """The places before `covered` where the window that goes on from there may begin; the best first."""
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
    """The starts of the tokens of a text, from some place on, read as far as needed."""

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


# Full stops, marks of exclamation and question that no blank has to follow: Chinese and Japanese, Arabic,
# Urdu, Indic, Armenian, Ethiopic, Canadian, Mongolian, Burmese. Then what closes behind them.
_OTHER_STOPS = r"\u3002\uff61\uff01\uff1f\u061f\u06d4\u0964\u0965\u0589\u1362\u166e\u1803\u104a\u104b"
_CLOSING = r"\"'”’»)\]\u300d\u300f\u300b\uff09"
# Each alternative takes a whole run and never fails behind it, so that hostile runs cost linear time.
_STOP = regex.compile(
    rf"(?P<stop>[.!?…]++)[{_CLOSING}]*+(?P<gap>\s*+)"
    rf"|[{_OTHER_STOPS}]++[{_CLOSING}]*+\s*+"
    r"|(?P<newline>\n\s*+)"
)
_BEFORE = regex.compile(r"(?r)[\p{L}\p{N}.]*+")
_INITIALISM = regex.compile(r"\p{L}(?:\.\p{L})*")
_LIST_ITEM = regex.compile(r"(?:[-*+•‣▪–—]|\(?\w{1,3}[.)])\s")
_LONGEST_ABBREVIATION = 12
_FIRST_LOOK = 128
"""Characters before the latest place that are searched first; a border is hardly ever farther away."""
_ABBREVIATIONS = frozenset(
    """
    mr mrs ms mx dr prof st sr jr rev hon gen col capt cmdr lt sgt maj gov sen rep pres supt insp
    mt ft ave blvd rd inc ltd co corp llc dept univ assn bros
    al et etc cf ca approx est resp vs viz ibid op cit
    no nos nr vol vols pp fig figs eq eqs sec ch ref refs ed eds abb bd hrsg bzw usw ggf vgl mme mlle sra srta
    jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri
    """.split()  # noqa: SIM905  a list of quoted words says no more
)
_GRAPHEME = regex.compile(r"\X")
_JOINER = "\u200d"
_WITHOUT_BLANKS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
# The ends of clauses, of words with the blanks behind them, and of words where nothing is between them.
_CLAUSE = regex.compile(r"[,;:)\]—–]\s+|[\uff0c\u3001\uff1b\uff1a\u060c\u061b]\s*|\n\s*")
_BLANK = regex.compile(r"\s+")
_WORD = regex.compile(
    rf"(?:[{_WITHOUT_BLANKS}]|[^\w\p{{M}}\u200d])\p{{M}}*+|[\w\p{{M}}](?=[{_WITHOUT_BLANKS}]|[^\w\p{{M}}\u200d])"
)


class Border(IntEnum):
    """The unit that ends at a place, from the worst place to divide a text to the best."""

    GRAPHEME_PART = 0
    GRAPHEME = 1
    WORD = 2
    BLANK = 3
    CLAUSE = 4
    SENTENCE = 5


def sentence_ends(text: str) -> Iterator[int]:
    """The ends of the sentences of a text, each behind the blanks that follow; the last is the text's length.

    Ascending, one at a time, in linear time. A line break is a border where a blank line or an item of a list
    follows; otherwise lines may be wrapped anywhere.
    """
    for match in _STOP.finditer(text):
        if match.end() < len(text) and _is_border(text, match):
            yield match.end()
    if text:
        yield len(text)


def _is_border(text: str, match: "regex.Match[str]") -> bool:
    end = match.end()
    if not is_grapheme_end(text, end):
        return False
    if match["newline"] is not None:
        return _is_new_paragraph(text, match["newline"], end)
    if match["stop"] is None:
        return True
    gap = match["gap"]
    if not gap:
        return False
    if "\n" in gap and _is_new_paragraph(text, gap, end):
        return True
    return not text[end].islower() and not (match["stop"] == "." and _is_abbreviated(text, match.start()))


def _is_new_paragraph(text: str, gap: str, end: int) -> bool:
    return gap.count("\n") > 1 or _LIST_ITEM.match(text, end) is not None


def _is_abbreviated(text: str, position: int) -> bool:
    word = _BEFORE.match(text, max(position - _LONGEST_ABBREVIATION, 0), position)[0]
    return word.casefold() in _ABBREVIATIONS or _INITIALISM.fullmatch(word) is not None


def is_grapheme_end(text: str, position: int) -> bool:
    """True if no grapheme reaches over a position; in doubt, as between two flags, False."""
    # Of two characters alone: looking back for what they belong to would cost the time of all before.
    if text[position - 1] == _JOINER:
        return False
    grapheme = _GRAPHEME.match(text[position - 1 : position + 1])
    return grapheme is None or grapheme.end() == 1


def inner_border(text: str, low: int, high: int) -> tuple[Border, int]:
    """The best place with low < place <= high to divide a sentence that is too long, and what ends there.

    The last clause that ends in the second half, else the last word, else the last grapheme; inside of one
    only where there is nothing else. No grapheme is cut at `low`.
    """
    for border, pattern, lowest in (
        (Border.CLAUSE, _CLAUSE, (low + high) // 2),
        (Border.BLANK, _BLANK, low),
        (Border.WORD, _WORD, low),
    ):
        position = _last_end(pattern, text, lowest, high)
        if position is not None:
            return border, position
    # One character more than is asked for: a match that was stopped there says nothing about its end.
    ends = [low + grapheme.end() for grapheme in _GRAPHEME.finditer(text[low : high + 1])]
    whole = [end for end in ends if end <= high]
    return (Border.GRAPHEME, whole[-1]) if whole else (Border.GRAPHEME_PART, high)


def _last_end(pattern: "regex.Pattern[str]", text: str, low: int, high: int) -> int | None:
    """The last place with low < place <= high where a match ends and no grapheme is cut."""
    width = _FIRST_LOOK
    while True:
        start = max(low, high - width)
        ends: list[int] = [
            min(match.end(), high)
            for match in pattern.finditer(text, start, min(high + 1, len(text)))
            if match.start() < high
        ]
        for end in reversed(ends):
            if end > low and is_grapheme_end(text, end):
                return end
        if start == low:
            return None
        width *= 4
