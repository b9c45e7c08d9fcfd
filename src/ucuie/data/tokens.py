"""Text from tokens whose original spacing is lost, with the offsets of every token kept.

`natural` undoes what tokenizers do to English text: no blank before a comma, none inside brackets,
"do" + "n't" in one word, -LRB- back to a bracket. It decides by the tokens alone, never guesses a
blank away where a rule is unsure, and never reorders or loses a token. `tight` is for corpora whose
tokenizer split at every hyphen and slash. `blank` puts one blank between tokens; `none` nothing
(Chinese, Japanese). The other way, `words_of` cuts a text for formats that hold words.
"""

import html
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import regex

from ucuie.data.draft import contiguous_pieces, map_fillers, tuple_record
from ucuie.schema import Example, Filler, Record, Span

Spacing = Literal["natural", "tight", "blank", "none"]
NOT_AN_ENTITY = "record that is no entity"

_RESTORED = {
    "-LRB-": "(",
    "-RRB-": ")",
    "-LSB-": "[",
    "-RSB-": "]",
    "-LCB-": "{",
    "-RCB-": "}",
    "``": '"',
    "''": '"',
}
_BINDS_LEFT = frozenset([*",.;:!?)]}%…”’»", "...", "-RRB-", "-RSB-", "-RCB-"])
_BINDS_RIGHT = frozenset([*"([{$£€@#“‘«¿¡", "-LRB-", "-LSB-", "-LCB-"])
_BINDS_BOTH_IF_TIGHT = frozenset("-/_")
_BINDS_NUMBERS = frozenset(".:/-–")
_CLITIC = re.compile(r"(?:n['’]t|['’](?:s|t|m|d|re|ve|ll|em))$", re.IGNORECASE)
_IRISH = re.compile(r"['’][A-Z]")
_SPLIT_CLITICS = frozenset(["s", "t", "m", "d", "re", "ve", "ll"])
# With marks, joiners, soft hyphens and numbers such as ²; any other grapheme alone. The four separators are
# white space for `str.strip`, but not for `regex`.
_LETTERS = r"[\w\p{N}\p{M}\p{Cf}]+"
_WORD = regex.compile(rf"{_LETTERS}(?:[-_/.'’]{_LETTERS})*|(?![\s\x1c-\x1f])\X")
_ENTITY = re.compile(r"&#?\w+;")
_SPLIT_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"'}


@dataclass(frozen=True)
class JoinedTokens:
    """A text and where each of its tokens stands in it.

    Args:
        first: the number of the first token, of a text that is part of a longer one.
    """

    text: str
    spans: tuple[Span, ...]
    first: int = 0

    def span(self, start: int, end: int) -> Span:
        """The range of the text that tokens start to end (exclusive) cover.

        Raises:
            ValueError: there are no such tokens, or they hold no character.
        """
        start, end = start - self.first, end - self.first
        if not 0 <= start < end <= len(self.spans):
            raise ValueError(f"tokens {start}:{end} are not a range of the {len(self.spans)} tokens")
        span = self.spans[start][0], self.spans[end - 1][1]
        if span[0] == span[1]:
            raise ValueError(f"tokens {start}:{end} are empty")
        return span


def join_tokens(tokens: Sequence[str], spacing: Spacing = "natural", *, first: int = 0) -> JoinedTokens:
    """The text that the tokens most likely stood in, and the place of each token."""
    words = [token.strip() for token in tokens]
    if spacing in ("natural", "tight"):
        blanks = _natural_blanks(words, is_tight=spacing == "tight")
        words = _restored(words)
    else:
        blanks = [spacing == "blank"] * len(words)
    text, spans = "", []
    for word, has_blank in zip(words, blanks, strict=True):
        if word and text and has_blank:
            text += " "
        spans.append((len(text), len(text) + len(word)))
        text += word
    return JoinedTokens(text, tuple(spans), first)


def record_of_indices(label: str, joined: JoinedTokens, slots: Iterable[tuple[str, Sequence[int]]]) -> Record:
    """A frame whose slots are filled by token indices, piece by piece where they are not contiguous."""
    filled = [(slot, joined.span(*piece)) for slot, indices in slots for piece in contiguous_pieces(indices)]
    return tuple_record(label, joined.text, filled)


def _restored(words: Sequence[str]) -> list[str]:
    """The characters that tokens stand for: a bracket for -RRB-, a dash for &ndash;, & for & amp ;."""
    restored = [
        html.unescape(word) if _ENTITY.fullmatch(word) else _RESTORED.get(word, word) for word in words
    ]
    for index in range(len(words) - 2):
        first, name, last = words[index : index + 3]
        if first == "&" and name in _SPLIT_ENTITIES and last == ";":
            restored[index : index + 3] = [_SPLIT_ENTITIES[name], "", ""]
    return restored


def _natural_blanks(words: Sequence[str], *, is_tight: bool) -> list[bool]:
    """For each word, whether a blank stands before it."""
    binds_left, binds_right = set(), set()
    for index, word in enumerate(words):
        if word in _BINDS_LEFT or _CLITIC.match(word) or _is_mark(word):
            binds_left.add(index)
        if word in _BINDS_RIGHT:
            binds_right.add(index)
        joins_tightly = is_tight and (word in _BINDS_BOTH_IF_TIGHT or _joins_name(words, index))
        if joins_tightly or _joins_numbers(words, index):
            binds_left.add(index)
            binds_right.add(index)
        if index and _IRISH.match(word) and words[index - 1] in ("O", "D", "L"):
            binds_left.add(index)
    _bind_quotes(words, binds_left, binds_right)
    for index in range(2, len(words)):
        if words[index - 2 : index + 1] == ["+", "/", "-"]:  # "5 +/- 2" is a sign, no hyphenation
            binds_right.discard(index)
    return [index not in binds_left and index - 1 not in binds_right for index in range(len(words))]


def _is_mark(word: str) -> bool:
    """Tell whether the word is only marks that combine with the character before (an emoji's variant)."""
    return bool(word) and all(unicodedata.category(character) in ("Mn", "Me") for character in word)


def _joins_numbers(words: Sequence[str], index: int) -> bool:
    """Tell whether the word is the point of a decimal, the comma of thousands, or the like."""
    if not 0 < index < len(words) - 1:
        return False
    left, word, right = words[index - 1 : index + 2]
    if not (left[-1:].isdigit() and right[:1].isdigit()):
        return False
    return word in _BINDS_NUMBERS or (word == "," and len(right) == 3 and right.isdigit() and len(left) <= 3)


def _joins_name(words: Sequence[str], index: int) -> bool:
    """Tell whether the word is the point inside a name such as PU.1."""
    if not 0 < index < len(words) - 1 or words[index] != ".":
        return False
    return words[index - 1][-1:].isupper() and words[index + 1][:1].isdigit()


def _bind_quotes(words: Sequence[str], binds_left: set[int], binds_right: set[int]) -> None:
    """Opening quotes bind to the next word, closing ones to the one before.

    Quotes that do not say which they are open and close in turn, which is certain only if their number
    is even; of an odd number none is touched, while a lone apostrophe is a possessive ("the boys'").
    """
    has_directions = "``" in words and "''" in words
    undirected: dict[str, list[int]] = {'"': [], "'": [], "``": [], "''": []}
    for index, word in enumerate(words):
        if word == "`" or (word == "``" and has_directions):
            binds_right.add(index)
        elif word == "''" and has_directions:
            binds_left.add(index)
        elif word == "'" and _is_before_clitic(words, index):
            binds_left.add(index)
            binds_right.add(index)
        elif word == "'" and _is_half_of_quote(words, index):
            binds_left.add(index)
        elif word in undirected:
            undirected[word].append(index)
    for quote, places in undirected.items():
        if len(places) % 2 == 0:
            binds_right.update(places[::2])
            binds_left.update(places[1::2])
        elif quote == "'":
            binds_left.update(places)


def _is_before_clitic(words: Sequence[str], index: int) -> bool:
    """Tell whether an apostrophe belongs to a clitic that was split once more: didn ' t."""
    following = words[index + 1 : index + 2]
    return index > 0 and words[index - 1][-1:].isalpha() and bool(_SPLIT_CLITICS.intersection(following))


def _is_half_of_quote(words: Sequence[str], index: int) -> bool:
    """Tell whether an apostrophe is one of the two of a closing quote: ''."""
    return "'" in (*words[max(index - 1, 0) : index], *words[index + 1 : index + 2])


def respaced(text: str, records: Iterable[Record], spacing: Spacing) -> tuple[str, tuple[Record, ...]]:
    """A text of tokens with one blank between them, and its records, in another spacing."""
    words = text.split(" ")
    joined = join_tokens(words, spacing)
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word) + 1)

    def moved(offset: int) -> int:
        word = bisect_right(starts, offset) - 1
        first, last = joined.spans[word]
        return min(first + offset - starts[word], last - 1)  # a restored token may be shorter

    def moved_filler(filler: Filler) -> Filler:
        start, end = moved(filler.start), moved(filler.end - 1) + 1
        return Filler(text=joined.text[start:end], start=start, end=end)

    return joined.text, tuple(map_fillers(record, moved_filler) for record in records)


def words_of(example: Example) -> list[Span]:
    """The ranges of the words of a text; a word ends wherever a filler does."""
    borders = {offset for record in example.records for filler in record.fillers() for offset in filler.span}
    words: list[Span] = []
    for match in _WORD.finditer(example.text):
        inside = {border for border in borders if match.start() < border < match.end()}
        words += pairwise(sorted({*match.span(), *inside}))
    return words


def entities_of(example: Example) -> tuple[list[Span], list[tuple[str, Span]], list[str]]:
    """The words of a text, its entities as labelled ranges of them, and what of its records is none."""
    words = words_of(example)
    entities, lost = [], []
    for record in example.records:
        if record.filler is None or record.slots:
            lost.append(NOT_AN_ENTITY)
            continue
        first, end = record.filler.span
        inside = [index for index, word in enumerate(words) if first <= word[0] and word[1] <= end]
        if inside:
            entities.append((record.frame, (inside[0], inside[-1] + 1)))
        else:
            lost.append("entity of blanks")
    return words, entities, lost
