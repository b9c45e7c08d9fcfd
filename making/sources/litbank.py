"""LitBank: people, places and vehicles in a hundred novels, and what is told as having happened.

Entities are in brat files whose texts have one sentence a line and a blank between tokens; mentions are names
or descriptions, nested. Events are in parallel columns of the same tokens:

    entities/brat/158_emma_brat.txt     Her mother had died too long ago .
    entities/brat/158_emma_brat.ann     T8<tab>PER 0 10<tab>Her mother
    events/tsv/158_emma_brat.tsv        died<tab>EVENT
"""

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from making.sources.mending import natural, stretches
from making.sources.numbering import Examples
from making.sources.source import Source
from making.sources.unify import types_of, unified
from ucuie.data import Fault
from ucuie.data.draft import Draft, checked_span, entity
from ucuie.schema import Record

TYPES = types_of("""
    PER | person | A person or group of people, by name or by description.
    FAC | facility | A building, room, street or other place that people have built.
    GPE | geopolitical entity | A country, city, village or other place with a government or people.
    LOC | location | A natural place, such as a river, wood, sea, or a region.
    ORG | organization | An institution, company, army or other organised group.
    VEH | vehicle | A ship, carriage, train or other means of transport.
    EVENT | event that happened | A word for something that is told as having really happened.
""")


def read(folder: Path) -> Examples:
    """One to three sentences of a novel each."""
    return unified("litbank", _drafts(folder), TYPES)


def _drafts(folder: Path) -> Iterator[Draft | Fault]:
    for path in sorted(folder.glob("entities/brat/*.txt")):
        text = path.read_text(encoding="utf-8")
        records = [*_entities(path.with_suffix(".ann"), text)]
        events = _events(folder / "events" / "tsv" / f"{path.stem}.tsv", text)
        if events is None:
            yield Fault(path.name, "novel whose events have other tokens")
            continue
        novel = Draft(path.name, text, (*records, *events))
        line_ends = accumulate(len(line) for line in text.splitlines(keepends=True))
        for piece in stretches(novel, max_sentences=3, max_characters=260, ends=line_ends):
            yield natural(piece)


def _entities(path: Path, text: str) -> Iterator[Record]:
    for line in path.read_text(encoding="utf-8").splitlines():
        _, place, string = line.split("\t")
        label, start, _ = place.split(" ")
        yield entity(label, text, checked_span(text, int(start), string))


def _events(path: Path, text: str) -> list[Record] | None:
    """The words of a text that columns mark as events; None where they are not columns of this text."""
    records, position = [], 0
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip():
            continue
        token, label = line.split("\t")
        start = text.find(token, position)
        if text[position:start].strip():
            return None
        position = start + len(token)
        if label == "EVENT":
            records.append(entity(label, text, (start, position)))
    return records


SOURCES = (
    Source(
        name="litbank",
        title="LitBank",
        licence="CC-BY-4.0",
        attribution="dbamman/litbank (3e50db0)",
        read=read,
        archive="litbank.tar.xz",
        cap=None,
        absent="schema",
    ),
)
