"""RAMS JSON lines: windows of five sentences around one event, token ranges END INCLUSIVE.

The links of some copies point at the head word of an argument; `ent_spans` has the whole of it. The
role is what follows the argument number: `evt043arg01communicator`.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from ucuie.data.draft import Draft, Fault, filled_slots, filler_at
from ucuie.data.readers.items import TokenOptions, read_items
from ucuie.data.tokens import join_tokens
from ucuie.schema import Record

_ROLE = re.compile(r"evt\d+arg\d+(\w+)$")


def read_rams(paths: Sequence[Path], options: TokenOptions) -> Iterator[Draft | Fault]:
    """A draft for each window with its event."""

    def draft(place: str, window: dict[str, Any]) -> Draft:
        joined = join_tokens(list(chain.from_iterable(window["sentences"])), options.spacing)
        slots = []
        for first, last, roles in window["ent_spans"]:
            for role, _ in roles:
                match = _ROLE.match(role)
                if match is None:
                    raise ValueError(f"no role in {role!r}")
                slots.append((match[1], joined.span(first, last + 1)))
        records = [
            Record(
                frame=label,
                filler=filler_at(joined.text, joined.span(first, last + 1)),
                slots=filled_slots(joined.text, slots),
            )
            for first, last, labels in window["evt_triggers"]
            for label, _ in labels
        ]
        return Draft(place, joined.text, tuple(records))

    return read_items(paths, draft)
