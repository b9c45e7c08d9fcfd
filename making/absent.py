"""Which types may be asked for of a text that was not annotated for them: only those that are surely absent.

A text is silent about a type for one of two reasons: nothing of it is there, or nobody looked. Types that the
text was completely annotated for may always be asked for. Any other may only if all of this holds:

1. The source says that types of its other examples are absent (`absent: source`), or the field that the type
   comes from is one that the text's field has nothing of (`foreign` in mixture.yaml).
2. Its name and that of each type annotated in the text have no word in common, whatever its ending: "cell
   line" is never the negative of "cell type".
3. No word of one and no word of the other stand in one family of `families.yaml`: "film" is never the
   negative of "movie", nor "company" of "organization", nor "place" of "river".
4. The two names are not spelled alike ("organisation", "organization").
5. No word of its name stands in the text, whatever its ending: "tell" is not asked for where one "tells".
6. A type of entities of the same source ("city") is not asked for where the text has names that nobody gave a
   type ("... in Minsk"); questions as names, which are about one text alone, may be.
"""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import cache, lru_cache
from pathlib import Path

import yaml

from ucuie.language.windows import sentence_ends
from ucuie.schema import Span

FAMILIES = Path(__file__).with_name("families.yaml")
SPELLED_ALIKE = 0.8
STEM_LENGTH = 8
_WORD = re.compile(r"[^\W\d_]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_CAPITALISED = re.compile(r"\b[A-Z][^\W\d_]")
_ENDING = re.compile(r"(?:ations?|ions?|ments?|ings?|ers?|ors?|ies|es|ed|s|e|y)$")
_EMPTY = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "in",
        "on",
        "at",
        "by",
        "to",
        "for",
        "from",
        "with",
        "or",
        "and",
        "as",
        "is",
        "are",
        "be",
        "was",
        "were",
        "not",
        "no",
        "its",
        "other",
        "others",
        "kind",
        "kinds",
        "type",
        "types",
        "name",
        "names",
        "named",
        "thing",
        "things",
        "something",
        "someone",
        "somebody",
        "one",
        "who",
        "what",
        "which",
        "that",
    ]
)


@lru_cache(maxsize=100_000)
def stems(name: str) -> frozenset[str]:
    """The words of a name or text without endings, cut short; words that say nothing are left out."""
    words = (word.casefold() for word in _WORD.findall(_HUMP.sub(" ", name)))
    return frozenset(stem(word) for word in words if word not in _EMPTY)


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """A word without its endings, of which it may have two, cut short; short words keep theirs."""
    for _ in range(2):
        short = _ENDING.sub("", word)
        word = short if len(short) >= 3 else word
    return word[:STEM_LENGTH]


@cache
def _families() -> dict[str, frozenset[int]]:
    """The families of each stem, by their numbers."""
    found: dict[str, set[int]] = {}
    for number, family in enumerate(yaml.safe_load(FAMILIES.read_text("utf-8"))):
        for word in stems(family):
            found.setdefault(word, set()).add(number)
    return {word: frozenset(numbers) for word, numbers in found.items()}


@lru_cache(maxsize=100_000)
def families(name: str) -> frozenset[int]:
    """The families that a word of the name belongs to."""
    return frozenset().union(*(_families().get(word, frozenset()) for word in stems(name)))


@lru_cache(maxsize=500_000)
def may_mean_the_same(first: str, second: str) -> bool:
    """Whether one of two types may be the other, or a kind of it (rules 2 to 4)."""
    if not stems(first) or not stems(second) or stems(first) & stems(second):
        return True
    return bool(families(first) & families(second)) or likeness(first, second) >= SPELLED_ALIKE


@lru_cache(maxsize=500_000)
def likeness(first: str, second: str) -> float:
    """How alike two names are spelled, from 0 to 1."""
    return SequenceMatcher(None, first.casefold(), second.casefold(), autojunk=False).ratio()


@lru_cache(maxsize=100_000)
def has_other_names(text: str, known: tuple[Span, ...]) -> bool:
    """Whether a capitalised word stands in a text outside of some spans and not at a sentence's beginning."""
    starts = {0, *sentence_ends(text)}
    return any(
        match.start() not in starts and not any(low <= match.start() < high for low, high in known)
        for match in _CAPITALISED.finditer(text)
    )


def may_be_asked(name: str, annotated: Iterable[str], text: str) -> bool:
    """Whether a type is surely absent from a text, given that its field is (rules 2 to 5)."""
    return not stems(name) & stems(text) and not any(may_mean_the_same(name, one) for one in annotated)
