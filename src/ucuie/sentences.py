"""Where a text may be divided: between sentences, and inside a long one between clauses, words, characters.

In: a text. Out: positions, in code points. Sentences are found by rules alone, for no language in particular:
a border too few makes a window begin a sentence earlier, a border too many costs a sentence of context.
Nothing here cuts a grapheme, which is what a reader takes for one character: a letter with its accents, an
emoji of several code points.
"""

from collections.abc import Iterator
from enum import IntEnum

import regex

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
    """What ends at a place, from the worst place to divide a text to the best."""

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
    """Whether the word that ends at a full stop is one that is written with it."""
    word = _BEFORE.match(text, max(position - _LONGEST_ABBREVIATION, 0), position)[0]
    return word.casefold() in _ABBREVIATIONS or _INITIALISM.fullmatch(word) is not None


def is_grapheme_end(text: str, position: int) -> bool:
    """Whether no grapheme reaches over a position; in doubt, as between two flags, it says no."""
    # Of two characters alone: looking back for what they belong to would cost the time of all before.
    if text[position - 1] == _JOINER:
        return False
    grapheme = _GRAPHEME.match(text[position - 1 : position + 1])
    return grapheme is None or grapheme.end() == 1


def inner_border(text: str, low: int, high: int) -> tuple[Border, int]:
    """The best place with low < place <= high to divide a sentence that is too long, and what ends there.

    The last clause that ends in the second half, else the last word, else the last grapheme; inside of one
    only where there is nothing else.

    Args:
        text: the text.
        low: where no grapheme is cut.
        high: greater than `low`.
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
