"""From what is found in a collection to its numbered examples: checked, none twice, drops counted."""

from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from hashlib import blake2b

from pydantic import ValidationError

from ucuie.language.linearize import order_records
from ucuie.schema import Example, Frame, Record, Schema, Task


@dataclass(frozen=True)
class Found:
    """A text of a collection with its records, in the words that the model will see."""

    task: Task
    text: str
    frames: tuple[Frame, ...]
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Left:
    """Something of a collection that is left out, and why."""

    reason: str


Examples = Generator[Example, None, Counter[str]]
"""The examples of a source; what was left out is counted by reason and returned at the end."""


def numbered(source: str, readings: Iterable[Found | Left], *, num_repeats: int = 1) -> Examples:
    """The examples of what was found, each text `num_repeats` times for a task; ids count what is yielded."""
    left: Counter[str] = Counter()
    seen: Counter[tuple[str, str]] = Counter()
    number = 0
    for reading in readings:
        if isinstance(reading, Left):
            left[reading.reason] += 1
            continue
        key = reading.task, " ".join(reading.text.casefold().split())
        if seen[key] == num_repeats:
            left["repeated text"] += 1
            continue
        try:
            schema = Schema(frames=reading.frames)
            example = Example(
                id=f"{source}/{number + 1}",
                dataset=source,
                task=reading.task,
                text=reading.text,
                schema=schema,
                records=tuple(dict.fromkeys(order_records(reading.records, schema))),
            )
        except (ValidationError, KeyError) as error:
            left[f"contradicts itself: {type(error).__name__}"] += 1
            continue
        seen[key] += 1
        number += 1
        yield example
    return left


def share(key: str) -> float:
    """A number from 0 up to 1 that depends on the key alone: chance that is the same in every run."""
    return int.from_bytes(blake2b(key.encode(), digest_size=6).digest()) / 2**48
