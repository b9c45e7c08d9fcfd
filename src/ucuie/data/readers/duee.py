"""DuEE JSON lines: events with trigger and arguments as strings with their start."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ucuie.data.draft import Draft, Fault, checked_span, filled_slots, filler_at
from ucuie.data.readers.items import ReaderOptions, read_items
from ucuie.schema import Record, Span


def read_duee(paths: Sequence[Path], options: ReaderOptions) -> Iterator[Draft | Fault]:
    """A draft for each text."""

    def draft(place: str, item: dict[str, Any]) -> Draft:
        text = item["text"]
        records = [
            Record(
                frame=event["event_type"],
                filler=filler_at(text, _span(text, event, "trigger")),
                slots=filled_slots(
                    text,
                    [
                        (argument["role"], _span(text, argument, "argument"))
                        for argument in event["arguments"]
                    ],
                ),
            )
            for event in item["event_list"]
        ]
        return Draft(place, text, tuple(records))

    return read_items(paths, draft)


def _span(text: str, item: dict[str, Any], key: str) -> Span:
    return checked_span(text, item[f"{key}_start_index"], item[key])
