"""Made-up texts with personal data: names, addresses, numbers of cards and accounts.

A JSON list; templates have been filled with invented values, whose offsets are known:

    {"full_text": "My name is Rubija", "masked": "My name is {{PERSON}}", "template_id": 3,
     "spans": [{"entity_type": "PERSON", "entity_value": "Rubija", "start_position": 11, "end_position": 17}]}

A template may itself hold a name or a year, which nobody has marked. So a text offers the types of its own
records, and of all others only those that no template writes out.
"""

import json
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

from making.sources.mending import natural, stretches
from making.sources.numbering import Examples
from making.sources.source import Source
from making.sources.unify import types_of, unified
from ucuie.data import Fault
from ucuie.data.draft import Draft, checked_span, entity
from ucuie.schema import Span

TYPES = types_of("""
    PERSON | person | A person by name.
    TITLE | form of address | A word such as Mr., Mrs. or Dr. before a name.
    ORGANIZATION | organization | A company or other organization by name.
    GPE | geopolitical entity | A country, state or city.
    NRP | nationality, religious or political group | What people are by nationality, religion or party.
    DATE_TIME | date or time | A date, a time of day, or a year.
    AGE | age | How old somebody is.
    STREET_ADDRESS | street address | An address with street and number, and what follows of it.
    ZIP_CODE | postal code | The code of a place in addresses.
    PHONE_NUMBER | phone number
    EMAIL_ADDRESS | email address
    DOMAIN_NAME | web address | The address of a website or its domain.
    IP_ADDRESS | ip address | The number of a computer in a network.
    CREDIT_CARD | credit card number
    IBAN_CODE | bank account number | The international number (IBAN) of a bank account.
    US_SSN | social security number
    US_DRIVER_LICENSE | driver license number
""")
NEVER_IN_TEMPLATES = (
    *("STREET_ADDRESS", "ZIP_CODE", "PHONE_NUMBER", "EMAIL_ADDRESS", "DOMAIN_NAME", "IP_ADDRESS"),
    *("CREDIT_CARD", "IBAN_CODE", "US_SSN", "US_DRIVER_LICENSE"),
)

_GARBLED = ("ג€", "???")
"""What a wrong encoding has made of dashes and quotes, and of letters."""


def read(folder: Path) -> Examples:
    """One to three sentences each."""
    return unified("personal_data", _drafts(folder), TYPES)


def _drafts(folder: Path) -> Iterator[Draft | Fault]:
    items = json.loads(next(folder.rglob("synth_dataset_v2.json")).read_text(encoding="utf-8"))
    for number, item in enumerate(items, start=1):
        if any(garbled in item["full_text"] for garbled in _GARBLED):
            yield Fault(f"item {number}", "text of a wrong encoding")
            continue
        for piece in stretches(_draft(f"item {number}", item), max_sentences=3, max_characters=400):
            own = {record.frame for record in piece.records}
            offered = tuple(label for label in TYPES if label in own or label in NEVER_IN_TEMPLATES)
            piece = natural(piece)
            yield Draft(piece.place, piece.text, piece.records, offered, piece.changes)


def _draft(place: str, item: dict[str, Any]) -> Draft:
    text, labelled, changes = item["full_text"], [], []
    for one in sorted(item["spans"], key=itemgetter("start_position")):
        try:
            labelled.append(
                (one["entity_type"], checked_span(text, one["start_position"], one["entity_value"]))
            )
        except ValueError:
            changes.append("record whose offsets do not fit")
    records = (entity(label, text, span) for label, span in _whole_addresses(labelled, text))
    return Draft(place, text, tuple(records), changes=tuple(changes))


def _whole_addresses(labelled: Iterable[tuple[str, Span]], text: str) -> list[tuple[str, Span]]:
    """The spans, but one for an address that a template has put together from pieces."""
    whole: list[tuple[str, Span]] = []
    for label, (start, end) in labelled:
        if whole and whole[-1][0] == label == "STREET_ADDRESS":
            first, last = whole[-1][1]
            if not text[last:start].strip(" ,\n"):
                whole.pop()
                start = first
        whole.append((label, (start, end)))
    return whole


SOURCES = (
    Source(
        name="personal_data",
        title="Presidio synthetic personal data",
        licence="MIT",
        attribution="microsoft/presidio-research (7622dec)",
        read=read,
        archive="presidio_synth.tar.xz",
        cap=None,
        absent="schema",
    ),
)
