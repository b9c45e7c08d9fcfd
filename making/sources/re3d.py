r"""re3d: public texts on Syria and Iraq with entities and relations as people marked them.

A folder for each publisher; a JSON object on each line of its files, offsets count in the document:

    documents.json  {"_id": "09FF20", "title": "...", "text": "Minister for the Middle East, Tobias ..."}
    entities.json   {"begin": 0, "end": 28, "type": "Person", "value": "Minister for the Middle East",
                     "documentId": "09FF20", "confidence": 1}
    relations.json  {"sourceBegin": 0, "sourceEnd": 28, "targetBegin": 30, "targetEnd": 44,
                     "type": "IsSynonymOf", "documentId": "09FF20", "confidence": 1}

Confidence is that of the crowd; at 0 a program alone found the entity. Of overlapping entities of one type
the surer stays, then the longer.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from making.sources.kinds import Annotated, Words, kinds_of, relation, sentences_of
from making.sources.numbering import Examples, Found, Left, numbered
from making.sources.source import Source
from making.sources.unify import types_of
from ucuie.schema import Span

NAME = "re3d"

WORDS = Words(
    entities=types_of("""
        Person | person | A specific person by name, title or both.
        Location | location | A point, area or feature on earth.
        Organisation | organization | A group of people, a government, an army or a company.
        Nationality | nationality | Words for national, religious or ethnic identity.
        Temporal | time | A date, a time or a range of time.
        Quantity | quantity | A number or amount of something.
        Money | money | An amount of money.
        Weapon | weapon | A weapon by name or kind.
        MilitaryPlatform | military platform | A military ship, aircraft or vehicle.
        DocumentReference | document | Words that identify a document.
        Coordinate | coordinates | A position in degrees.
        CommsIdentifier | contact | A phone number, address or account name.
        Frequency | radio frequency | A frequency that a transmitter uses.
    """),
    relations={
        "CoLocated": relation("located with", "one thing", "what is in the same place"),
        "Apart": relation("apart from", "one thing", "what is in another place"),
        "BelongsTo": relation("belongs to", "member or thing owned", "group or owner"),
        "InChargeOf": relation("in charge of", "who leads or controls", "what is led or controlled"),
        "HasAttrOf": relation("has attribute", "person or thing", "its quality, such as a number"),
        "IsSynonymOf": relation("same as", "one name", "another name of the same"),
        "Likes": relation("is positive towards", "who has the attitude", "whom or what it is about"),
        "Dislikes": relation("is negative towards", "who has the attitude", "whom or what it is about"),
        "FightingAgainst": relation("fights against", "one side", "its enemy"),
        "AlliesOf": relation("allied with", "one side", "who is on the same side"),
        "CommWith": relation("communicates with", "one party", "who is met, told or written to"),
    },
    events={},
    roles={},
)
_MIN_CONFIDENCE = 0.5
_MIN_WORDS, _MAX_WORDS = 5, 70


def read(folder: Path) -> Examples:
    """The sentences of all documents."""
    return numbered(NAME, _found(folder))


def _found(folder: Path) -> Iterator[Found | Left]:
    for path in sorted(folder.rglob("documents.json")):
        entities, relations = (
            _by_document(path.with_name(f"{one}.json")) for one in ("entities", "relations")
        )
        for document in _rows(path):
            text = document["text"]
            spans = [one for one in entities[document["_id"]] if _is_whole(text, one)]
            yield from (
                Left("entity that is not what stands there, or cuts a word")
                for _ in range(len(entities[document["_id"]]) - len(spans))
            )
            annotated = Annotated(
                document["_id"],
                text,
                tuple(_best(spans)),
                tuple(
                    (
                        one["type"],
                        (one["sourceBegin"], one["sourceEnd"]),
                        (one["targetBegin"], one["targetEnd"]),
                    )
                    for one in relations[document["_id"]]
                    if one["confidence"] >= _MIN_CONFIDENCE
                ),
            )
            for sentence in sentences_of(annotated):
                if '""' in sentence.text:
                    yield Left("sentence with broken quotes")
                elif _MIN_WORDS <= len(sentence.text.split()) <= _MAX_WORDS:
                    yield from kinds_of(sentence, WORDS)
                else:
                    yield Left("sentence too short or too long")


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, path.read_text("utf-8").splitlines())


def _by_document(path: Path) -> Mapping[str, list[dict[str, Any]]]:
    found = defaultdict(list)
    for row in _rows(path):
        found[row["documentId"]].append(row)
    return found


def _is_whole(text: str, row: dict[str, Any]) -> bool:
    start, end = row["begin"], row["end"]
    cuts = text[max(start - 1, 0) : start + 1].isalnum() and start > 0
    cuts = cuts or (text[end - 1 : end + 1].isalnum() and end < len(text))
    return text[start:end] == row["value"] and not cuts


def _best(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[str, Span]]:
    taken: dict[str, list[Span]] = defaultdict(list)
    for row in sorted(rows, key=lambda one: (-one["confidence"], one["begin"] - one["end"])):
        span = row["begin"], row["end"]
        if all(span[1] <= start or end <= span[0] for start, end in taken[row["type"]]):
            taken[row["type"]].append(span)
            yield row["type"], span


SOURCES = (
    Source(
        name=NAME,
        title="re3d",
        licence="LicenseRef-public-domain AND OGL-UK-3.0 AND CC-BY-4.0 AND CC-BY-SA-3.0",
        attribution="dstl/re3d (b061ff0), without the texts of the BBC",
        read=read,
        archive="re3d.tar.xz",
        cap=None,
        absent="schema",
    ),
)
