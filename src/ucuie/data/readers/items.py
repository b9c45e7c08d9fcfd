"""What readers share: options, and the loop that turns items of JSON, or lines, into drafts or faults."""

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ucuie.config import Config
from ucuie.data.draft import Draft, Fault, Readings
from ucuie.data.tokens import Spacing
from ucuie.errors import show, validation_faults


class ReaderOptions(Config):
    """No options; base class of those of every reader."""


class TokenOptions(ReaderOptions):
    """The spacing by which tokens become text."""

    spacing: Spacing = "natural"


Options = TypeVar("Options", bound=ReaderOptions)
Parse = Callable[[str, Any, Options], Draft | Readings]
"""Makes drafts of the place of an item, the item and the options; what it raises is a fault of the item."""
Read = Callable[[Sequence[Path], Options], Readings]


def reader_of(
    items_of: Callable[[Path], Iterator[tuple[str, Any] | Fault]],
) -> Callable[[Parse[Options]], Read[Options]]:
    """Makes a reader of a function that parses one item of those that `read_json_items` or the like finds."""

    def decorate(parse: Parse[Options]) -> Read[Options]:
        @wraps(parse)
        def read(paths: Sequence[Path], options: Options) -> Readings:
            for path in paths:
                for item in items_of(path):
                    if isinstance(item, Fault):
                        yield item
                    else:
                        yield from drafts_of(*item, options, parse)

        return read

    return decorate


def drafts_of(place: str, item: Any, options: Options, parse: Parse[Options]) -> Readings:
    """The drafts of one item, and a fault where `parse` raises."""
    try:
        drafts = parse(place, item, options)
        yield from [drafts] if isinstance(drafts, Draft) else drafts
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        yield Fault(place, reason_of(error))


def reason_of(error: Exception) -> str:
    """An error of a parser in words, in one line."""
    if isinstance(error, ValidationError):
        return validation_faults(error)
    if isinstance(error, KeyError):
        return f"the field {show(error.args[0])} is missing"
    if isinstance(error, TypeError | AttributeError):
        return "unexpected structure: a list, object, string, number or null stands where another should be"
    return f"{error}" if isinstance(error, ValueError) else f"unexpected structure: {error}"
