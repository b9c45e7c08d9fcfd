"""What readers of JSON share: options, and the loop that turns items into drafts or faults."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ucuie.config import Config
from ucuie.data.draft import Draft, Fault
from ucuie.data.sources import read_json_items
from ucuie.data.tokens import Spacing
from ucuie.errors import show, validation_faults


class ReaderOptions(Config):
    """No options; base class of those of every reader."""


class TokenOptions(ReaderOptions):
    """The spacing by which tokens become text."""

    spacing: Spacing = "natural"


def read_items(
    paths: Sequence[Path], parse: Callable[[str, Any], Draft | Iterator[Draft]]
) -> Iterator[Draft | Fault]:
    """The drafts that `parse` makes of each (place, item) of some JSON files; what it raises are faults."""
    for path in paths:
        for item in read_json_items(path):
            if isinstance(item, Fault):
                yield item
            else:
                yield from drafts_of(*item, parse)


def drafts_of(
    place: str, value: Any, parse: Callable[[str, Any], Draft | Iterator[Draft | Fault]]
) -> Iterator[Draft | Fault]:
    """What `parse` makes of a value, and a fault where it raises."""
    try:
        drafts = parse(place, value)
        yield from [drafts] if isinstance(drafts, Draft) else drafts
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        yield Fault(place, reason_of(error))


def reason_of(error: Exception) -> str:
    """An error of a parser in words, in one line."""
    if isinstance(error, ValidationError):
        return validation_faults(error)
    if isinstance(error, KeyError):
        return f"the field {show(error.args[0])} is missing"
    return f"{error}" if isinstance(error, ValueError) else f"unexpected structure: {error}"
