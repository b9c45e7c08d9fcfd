"""PHEE: pharmacovigilance events with main arguments, sub-arguments and discontinuous mentions.

Every argument lists its entities, every entity the pieces of text it consists of. A piece is one
filler of its slot, so that all fillers stand in the text as they are; a main argument of two pieces
gives the slot twice. Slots are named `Treatment` or `Treatment.Drug`. The attributes Negated,
Speculated and Severity are no roles and stay out.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ucuie.data.draft import Draft, Fault, checked_span, filled_slots, filler_at
from ucuie.data.readers.items import ReaderOptions, read_items
from ucuie.schema import Record, Span

_ROLES = ("Subject", "Treatment", "Effect")
_ATTRIBUTES = ("Negated", "Speculated", "Severity")


def read_phee(paths: Sequence[Path], options: ReaderOptions) -> Iterator[Draft | Fault]:
    """A draft for each sentence, its events with all arguments and sub-arguments."""
    return read_items(paths, _draft)


def _draft(place: str, sentence: dict[str, Any]) -> Draft:
    text = sentence["context"]
    changes: list[str] = []
    records = []
    for annotation in sentence["annotations"]:
        for event in annotation["events"]:
            changes += [f"attribute {name} left out" for name in _ATTRIBUTES if name in event]
            trigger = _pieces(text, event["Trigger"], changes)[0]
            slots = [
                (slot, span)
                for role in _ROLES
                if role in event
                for slot, argument in _arguments(role, event[role])
                for span in _pieces(text, argument, changes)
            ]
            records.append(
                Record(
                    frame=event["event_type"],
                    filler=filler_at(text, trigger),
                    slots=filled_slots(text, dict.fromkeys(slots)),
                )
            )
    return Draft(place, text, tuple(records), changes=tuple(changes))


def _arguments(role: str, argument: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The argument and, below it, its sub-arguments with the name of the slot each fills."""
    yield role, argument
    for name, value in argument.items():
        if name == "Combination":  # drugs given together, in an event of their own
            for combination in value:
                yield f"{role}.Combination", combination["Drug"]
        elif isinstance(value, dict):
            yield f"{role}.{name}", value


def _pieces(text: str, argument: dict[str, Any], changes: list[str]) -> list[Span]:
    spans = []
    for pieces, starts in zip(argument["text"], argument["start"], strict=True):
        spans += [checked_span(text, start, piece) for piece, start in zip(pieces, starts, strict=True)]
        if len(pieces) > 1:
            changes.append("discontinuous argument split into its pieces")
    return spans
