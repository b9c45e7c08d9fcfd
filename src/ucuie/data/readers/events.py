"""Events with their arguments, in the JSON lines of DuEE, RAMS and PHEE."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from ucuie.data.draft import Draft, Fault, checked_span, event
from ucuie.data.readers.items import ReaderOptions, TokenOptions, read_items
from ucuie.data.tokens import join_tokens
from ucuie.schema import Span

_RAMS_ROLE = re.compile(r"evt\d+arg\d+(\w+)$")
_PHEE_ROLES = ("Subject", "Treatment", "Effect")
_ATTRIBUTES = ("Negated", "Speculated", "Severity")


def read_duee(paths: Sequence[Path], options: ReaderOptions) -> Iterator[Draft | Fault]:
    """A draft for each text of DuEE, whose triggers and arguments are strings with their start."""

    def draft(place: str, item: dict[str, Any]) -> Draft:
        text = item["text"]
        records = []
        for found in item["event_list"]:
            slots = [(one["role"], _span(text, one, "argument")) for one in found["arguments"]]
            records.append(event(found["event_type"], text, _span(text, found, "trigger"), slots))
        return Draft(place, text, tuple(records))

    return read_items(paths, draft)


def _span(text: str, item: dict[str, Any], key: str) -> Span:
    return checked_span(text, item[f"{key}_start_index"], item[key])


def read_rams(paths: Sequence[Path], options: TokenOptions) -> Iterator[Draft | Fault]:
    """A draft for each window of five sentences around an event; token ranges END INCLUSIVE.

    The links of some copies point at the head word of an argument; `ent_spans` has the whole of it. The
    role is what follows the argument number: `evt043arg01communicator`.
    """

    def draft(place: str, window: dict[str, Any]) -> Draft:
        joined = join_tokens(list(chain.from_iterable(window["sentences"])), options.spacing)
        slots = []
        for first, last, roles in window["ent_spans"]:
            for role, _ in roles:
                match = _RAMS_ROLE.match(role)
                if match is None:
                    raise ValueError(f"no role in {role!r}")
                slots.append((match[1], joined.span(first, last + 1)))
        records = [
            event(label, joined.text, joined.span(first, last + 1), slots)
            for first, last, labels in window["evt_triggers"]
            for label, _ in labels
        ]
        return Draft(place, joined.text, tuple(records))

    return read_items(paths, draft)


def read_phee(paths: Sequence[Path], options: ReaderOptions) -> Iterator[Draft | Fault]:
    """A draft for each sentence of PHEE, its events with all arguments and sub-arguments.

    Every argument lists its entities, every entity the pieces of text it consists of. A piece is one filler
    of its slot, so that all fillers stand in the text as they are; a main argument of two pieces gives the
    slot twice. Slots are named `Treatment` or `Treatment.Drug`. Attributes are no roles and stay out.
    """
    return read_items(paths, _draft)


def _draft(place: str, sentence: dict[str, Any]) -> Draft:
    text = sentence["context"]
    changes: list[str] = []
    records = []
    for annotation in sentence["annotations"]:
        for found in annotation["events"]:
            changes += [f"attribute {name} left out" for name in _ATTRIBUTES if name in found]
            trigger = _pieces(text, found["Trigger"], changes)[0]
            slots = [
                (slot, span)
                for role in _PHEE_ROLES
                if role in found
                for slot, argument in _arguments(role, found[role])
                for span in _pieces(text, argument, changes)
            ]
            records.append(event(found["event_type"], text, trigger, dict.fromkeys(slots)))
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
