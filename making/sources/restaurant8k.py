"""Restaurant8k: what people say when they book a table.

JSON lists with character offsets, a start of 0 left out:

    [{"userInput": {"text": "There will be 5 adults and 1 child."},
      "context": {"requestedSlots": ["people"]},
      "labels": [{"slot": "people", "valueSpan": {"startIndex": 14, "endIndex": 34}}]}]

Half of the utterances that hold something becomes one frame, the booking, with slots; the rest are entities.
Read is the largest set for training, which holds the smaller ones. The test set stays unread; so do the four
services beside it, which are part of the schema-guided dialogues.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from making.sources.numbering import Examples
from making.sources.source import Source
from making.sources.unify import intent_of, types_of, unified
from making.sources.utterances import utterance
from ucuie.data.draft import Draft, entity

SHARE_OF_INTENTS = 1 / 2
PARTS = types_of("""
    people | party size | How many people the table is for.
    date | date | The day of the booking.
    time | time | The time of the booking.
    first_name | first name | The first name of the guest.
    last_name | last name | The last name of the guest.
""")
TYPES = PARTS | {
    "booking": intent_of("table booking", "A table is asked for or a booking described.", PARTS.values())
}


def read(folder: Path) -> Examples:
    """The utterances of the whole set for training."""
    return unified("restaurant8k", _drafts(folder), TYPES)


def _drafts(folder: Path) -> Iterator[Draft]:
    path = next(folder.rglob("restaurant8k/train_0.json"))
    for number, item in enumerate(json.loads(path.read_text(encoding="utf-8")), start=1):
        text = item["userInput"]["text"]
        spans = [
            (one["slot"], (one["valueSpan"].get("startIndex", 0), one["valueSpan"]["endIndex"]))
            for one in item.get("labels", ())
        ]
        draft = Draft(f"item {number}", text, tuple(entity(label, text, span) for label, span in spans))
        share = SHARE_OF_INTENTS if draft.records else 0
        yield utterance(draft, "booking", offered=tuple(PARTS), intents=("booking",), share_of_intents=share)


SOURCES = (
    Source(
        name="restaurant8k",
        title="Restaurant8k",
        licence="CC-BY-4.0",
        attribution="PolyAI-LDN/task-specific-datasets (57ec275)",
        read=read,
        archive="restaurant8k.tar.xz",
        cap=None,
        absent="schema",
    ),
)
