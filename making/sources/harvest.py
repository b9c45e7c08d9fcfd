r"""Harvest: what an encyclopedia says of an article's subject at first is the type of its mentions.

Reads `enwiki_2018.txt.xz` and `enwiki_main.txt.xz`, an article or paragraph on each line:

    Jarred Shaw (born September 28, 1990) is an American professional basketball player for Trouville ...
        On October 31, 2015, Shaw was selected by the Santa Cruz Warriors with the 18th overall pick ...

gives the subject "Jarred Shaw" (later "Shaw") and the type "professional basketball player", "basketball
player" or "player". Two of three examples leave the first sentence out, so that the type is not to be read
off but to be understood. Mentions are found by string, so these are silver labels.
"""

import lzma
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from making.sources.numbering import Examples, Found, Left, numbered, share
from making.sources.silver import is_clean
from making.sources.source import Source
from ucuie.data.draft import entity
from ucuie.language.windows import sentence_ends
from ucuie.schema import Frame, Span

NAME = "harvest"
NUM_EXAMPLES = 10_000
FILES = ("enwiki_2018", "enwiki_main")

_DEFINITION = re.compile(
    r"(?:(?:The|A|An) )?(?P<subject>[A-Z0-9][^.,;:()\"]{1,60}?)(?: \([^()]{1,150}\))?,? (?:is|was|are|were) "
    r"(?:a|an|the) (?:(?:species|genus|type|kind|form|breed|subspecies|style|brand) of )?"
    r"(?P<type>[A-Za-z][\w' -]{2,60}?)"
    r"(?=[.,;]| (?:who|whom|that|which|where|whose|when|in|of|for|from|on|at|by|to|with|and|or|as|near|within"
    r"|between|under|about|during|since|after|located|situated|born|based|published|released|written|directed"
    r"|produced|known|used|created|founded|established|developed|owned|operated|found|made|played|held|set"
    r"|designed|built|recorded|is|was|serving|playing|consisting|starring|featuring|currently|native|endemic"
    r"|first|formerly|responsible)\b)"
)
_BAD_HEADS = frozenset(
    """
    year list name number one part member end result form type kind set term word group first second last
    person people man woman child son daughter day date time thing way case example lot series pair work
    use study most same act state process method concept idea theory act term title surname given
    home site place area main subject topic topics class order native male female event season edition
    version head capital former private track approach branch body formation variety practice responsible
    professional international national american british german french indian
    """.split()  # noqa: SIM905  a list of quoted words says no more
)
_PERSON = re.compile(
    r"(?:er|or|ist|ian|man|woman|ess|actress|coach|politician|athlete|pilot|poet|model|judge|host|chef|artist"
    r"|priest|bishop|officer|engineer|physician|umpire|guard|monk|nun|king|queen|prince|princess)$"
)
_BORN = re.compile(r"\((?:[^()]*\b)?(?:born|b\.|died|[12]\d\d\d\s*[–-])")
_MAX_OF_A_HEAD, _MAX_OF_A_NAME = 200, 80
_SHARE_OF_DEFINITIONS = 1 / 3
_SHARE_OF_HEADS = 0.3
_MAX_TYPE_WORDS = 4
_NO_NOUN = ("ly", "ed", "ing", "est", "ible", "able", "ous", "ful", "ish", "ese")
_NEIGHBOUR = re.compile(r"(?:, | and | or | & )(?=[A-Z])")


_SMALL = frozenset("of the and de la von van in on for at du di del a".split())  # noqa: SIM905  as above
_NO_NAME = frozenset(
    """
    it he she this there they that these here what each one his although in while when as if since after
    before during at on for with from by both all some most many her its their another such no not
    because under
    """.split()  # noqa: SIM905  as above
)


@dataclass(frozen=True)
class _Subject:
    names: tuple[str, ...]
    """As it is mentioned: whole, and by its last word if a person."""
    type_words: tuple[str, ...]
    sentences: tuple[str, ...]

    @property
    def head(self) -> str:
        return self.type_words[-1]


def read(folder: Path) -> Examples:
    """An example for each subject with a type that is not too common, in the order of their hashes."""
    return numbered(NAME, _found(folder))


def _found(folder: Path) -> Iterator[Found | Left]:
    subjects = [
        subject
        for name in FILES
        for line in _lines(folder / f"{name}.txt.xz")
        if (subject := _subject(line)) is not None
    ]
    num_heads = Counter(subject.head for subject in subjects)
    heads: Counter[str] = Counter()
    names: Counter[str] = Counter()
    num_found = 0
    for subject in sorted(subjects, key=lambda one: share(one.sentences[0])):
        name = _type_name(subject)
        if num_found == NUM_EXAMPLES:
            yield Left("subject beyond the number wanted")
        elif num_heads[subject.head] < 2:
            yield Left("type of a single subject")  # mostly no noun at all
        elif heads[subject.head] == _MAX_OF_A_HEAD or names[name] == _MAX_OF_A_NAME:
            yield Left("subject of a common type")
        elif (found := _example(subject, name)) is None:
            yield Left("subject without a clean sentence")
        else:
            heads[subject.head] += 1
            names[name] += 1
            num_found += 1
            yield found


def _lines(path: Path) -> Iterator[str]:
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        yield from map(str.strip, lines)


def _subject(line: str) -> _Subject | None:
    match = _DEFINITION.match(line[:300])
    if match is None:
        return None
    words = [word for word in match["type"].split() if not word.isupper()]
    while words and (words[0][0].isupper() or words[0][0].isdigit()):
        words.pop(0)  # American, 19th-century
    subject = match["subject"].strip()
    is_name = all(word[0].isupper() or word[0].isdigit() or word in _SMALL for word in subject.split())
    if (
        not words
        or not is_name
        or subject.split()[0].lower() in _NO_NAME
        or any(word[0].isupper() for word in words)
    ):
        return None
    head = words[-1].lower()
    if head in _BAD_HEADS or not head.isalpha() or len(head) < 3 or head.endswith(_NO_NOUN):
        return None
    ends = [0, *sentence_ends(line)]
    sentences = tuple(line[start:end].strip() for start, end in pairwise(ends[:11]))
    names = [subject]
    if len(subject.split()) > 1 and _PERSON.search(head) and _BORN.search(line[:200]):
        names.append(subject.split()[-1])
    return _Subject(tuple(names), tuple(word.lower() for word in words), sentences)


def _type_name(subject: _Subject) -> str:
    """The head alone, or with up to some words before it, by the hash of the subject."""
    chance = share(subject.names[0] + " type")
    if chance < _SHARE_OF_HEADS:
        return subject.head
    length = 2 if chance < 0.7 else _MAX_TYPE_WORDS
    return " ".join(subject.type_words[-length:])


def _example(subject: _Subject, name: str) -> Found | None:
    """The first sentence for a third of subjects, else a later stretch that mentions it, if there is one."""
    chance = share(subject.names[0] + " sentence")
    later = [
        index
        for index, sentence in enumerate(subject.sentences)
        if index and _mentions(sentence, subject.names) and is_clean(sentence)
    ]
    if chance < _SHARE_OF_DEFINITIONS:
        text = subject.sentences[0]
        if chance < _SHARE_OF_DEFINITIONS / 2 and 1 in later:
            text = f"{text} {subject.sentences[1]}"
    elif later:
        index = later[int(share(subject.names[0] + " which") * len(later))]
        text = subject.sentences[index]
        if index + 1 in later and chance < 0.6:
            text = f"{text} {subject.sentences[index + 1]}"
    else:
        return None
    spans = _mentions(text, subject.names)
    if not spans or not is_clean(text) or any(_NEIGHBOUR.match(text, end) for _, end in spans):
        return None
    return Found("NER", text, (Frame(name=name),), tuple(entity(name, text, span) for span in spans))


def _mentions(text: str, names: tuple[str, ...]) -> list[Span]:
    """Where a name stands as words of its own; the whole name before its last word."""
    pattern = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    # Not the last word of another's name, nor the first of a longer one.
    alone = rf"(?<![\w-])(?<![A-Z][a-z] )(?:{pattern})(?![\w-])(?! [A-Z])"
    return [
        match.span() for match in re.finditer(alone, text) if not _is_within_name(text, match.span(), names)
    ]


def _is_within_name(text: str, span: Span, names: tuple[str, ...]) -> bool:
    """Whether the word before is written like a name, though the span is no whole name: "Mary Shaw"."""
    before = text[: span[0]].split()
    is_whole = text[slice(*span)] == names[0]
    return not is_whole and len(before) > 1 and before[-1][0].isupper() and before[-1].isalpha()


SOURCES = (
    Source(
        name=NAME,
        title="First sentences of Wikipedia",
        licence="CC-BY-SA-3.0",
        attribution="English Wikipedia, texts of about 2014 and of 2018",
        read=read,
        archive=None,
        cap=NUM_EXAMPLES,
        absent="source",
        is_silver=True,
    ),
)
