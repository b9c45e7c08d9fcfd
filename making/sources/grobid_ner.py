"""GROBID NER: encyclopedia articles and finding aids of archives on history and politics, 23 types.

XML with the entities in place, flat:

    <sentence xml:id="P0E0">In <ENAMEX type="PERIOD">1831</ENAMEX>, the depot in
        <ENAMEX type="LOCATION">Brussels</ENAMEX> was renamed.</sentence>
"""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from making.sources.mending import mended, natural
from making.sources.numbering import Examples
from making.sources.source import Source
from making.sources.unify import types_of, unified
from ucuie.data import Fault
from ucuie.data.draft import Draft, entity

TYPES = types_of("""
    PERSON | person | A person by name.
    PERSON_TYPE | group of people | People by religion, politics, ethnic group or social role.
    TITLE | title or office | A rank, office or form of address of a person.
    NATIONAL | nationality | What belongs to a country or its people, such as German.
    LOCATION | location | A country, city, region or other place.
    INSTALLATION | installation | A building, camp or other place that people have built.
    INSTITUTION | institution | A public body, such as a parliament or court.
    ORGANISATION | organization | An organised group, such as a party, army or movement.
    BUSINESS | business | A company or brand.
    MEDIA | media | A newspaper, broadcaster, film or other medium.
    WEBSITE | website | A website by name or address.
    EVENT | event | A named event, such as a war, battle, election or conference.
    PERIOD | period | A date, a time or a stretch of time.
    MEASURE | measure | A number, amount, rate or rank, with its unit.
    LEGAL | law | A law, treaty, convention or court case.
    CONCEPT | concept | An idea, ideology, language, theory or term.
    CONCEPTUAL | adjective of a concept | A word that says what belongs to an idea, such as Zionist.
    CREATION | creation | A book, song, speech or other work.
    ARTIFACT | artifact | A thing that people make, such as a weapon, ship or device.
    SUBSTANCE | substance | A material, chemical or food.
    ACRONYM | acronym | A short form that stands for a longer name.
    PLANT | plant | A plant by name.
    AWARD | award | A prize or an order.
""")

_BADLY_SPACED = re.compile(r"\d\. \d|\w,?\" \w+\"|\w,\" \w|\w\[\d")
"""Numbers with a blank inside, quotes at the wrong word: some articles have come through a tokenizer."""


def read(folder: Path) -> Examples:
    """The sentences of all articles."""
    return unified("grobid_ner", _drafts(folder), TYPES)


def _drafts(folder: Path) -> Iterator[Draft | Fault]:
    for path in sorted(folder.rglob("*.training.xml")):
        # The files are part of a published corpus; they declare no entities of their own.
        for number, sentence in enumerate(ElementTree.parse(path).iter("sentence"), start=1):  # noqa: S314
            draft = natural(mended(_draft(f"{path.name} sentence {number}", sentence)))
            if _BADLY_SPACED.search(draft.text):
                yield Fault(draft.place, "badly spaced text")
            elif any(record.frame not in TYPES for record in draft.records):
                yield Fault(draft.place, "text with an entity of unknown type")
            else:
                yield draft


def _draft(place: str, sentence: ElementTree.Element) -> Draft:
    text, spans = sentence.text or "", []
    for element in sentence:
        # The blank beside a tag is lost here and there: "six million</ENAMEX><ENAMEX ...>Jews".
        string, tail = "".join(element.itertext()), element.tail or ""
        text += " " * (text[-1:].isalnum() and string[:1].isalnum())
        spans.append((element.get("type", ""), (len(text), len(text) + len(string))))
        text += string + " " * (string[-1:].isalnum() and tail[:2].isalpha()) + tail
    return Draft(place, text, tuple(entity(label, text, span) for label, span in spans if span[0] < span[1]))


SOURCES = (
    Source(
        name="grobid_ner",
        title="GROBID NER",
        licence="Apache-2.0",
        attribution="kermitt2/grobid-ner (3687f53)",
        read=read,
        archive="grobid_ner.tar.xz",
        cap=None,
        absent="schema",
    ),
)
