"""Relations given as strings without offsets: NYT and WebNLG, DuIE, and open-relation tables.

The strings are placed in the text by the rules of `ucuie.align`; a triple with a string that does
not stand in the text is left out and counted.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from ucuie.align import align
from ucuie.data.draft import Draft, Fault
from ucuie.data.readers.items import ReaderOptions, TokenOptions, read_items
from ucuie.data.sources import read_lines
from ucuie.data.tokens import join_tokens
from ucuie.linearize import ParsedFrame, ParsedSlot
from ucuie.schema import Frame, Record, Schema, Slot


def place_strings(text: str, frames: Sequence[ParsedFrame]) -> tuple[tuple[Record, ...], list[str]]:
    """Records for frames given as strings, and for each that has no place a sentence saying so.

    A record is left out as a whole: a relation without its object would be another relation.
    """
    slots: dict[str, dict[str, None]] = {}
    for frame in frames:
        slots.setdefault(frame.frame, {}).update(dict.fromkeys(slot.slot for slot in frame.slots))
    if not slots:
        return (), []
    schema = Schema(
        frames=tuple(
            Frame(name=name, slots=tuple(Slot(name=slot) for slot in slot_names))
            for name, slot_names in slots.items()
        )
    )
    alignment = align(frames, text, schema)
    complete = tuple(
        record
        for record, frame in zip(alignment.records, alignment.frames, strict=True)
        if len(record.slots) == len(frame.slots)
    )
    return complete, ["record not in the text left out"] * (len(frames) - len(complete))


class TripleOptions(TokenOptions):
    """Texts are tokens joined by blanks; strings of the triples too."""


def read_triples(paths: Sequence[Path], options: TripleOptions) -> Iterator[Draft | Fault]:
    """A draft for each `{"text": ..., "triple_list": [[subject, relation, object], ...]}`."""
    return read_items(paths, partial(_triples_draft, options))


def _triples_draft(options: TripleOptions, place: str, item: dict[str, Any]) -> Draft:
    def natural(tokens: str) -> str:
        return join_tokens(tokens.split(" "), options.spacing).text

    frames = [
        ParsedFrame(
            relation, None, (ParsedSlot("subject", subject), ParsedSlot("object", object_))
        )
        for subject, relation, object_ in item["triple_list"]
    ]
    ...


class SpoOptions(ReaderOptions):
    """DuIE has no options: its texts are plain."""
