"""Least scores, for all types or by their names, and what is left out for being below them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ucuie.errors import ConfigError, did_you_mean, show
from ucuie.schema import Dropped, FilledSlot, Record, Schema

ANY = "*"
BELOW = "below the threshold"
"""The reason given in `dropped`."""

ThresholdSource = float | Mapping[str, float] | None
"""One for all types, or by names; None leaves it to the model, 0 keeps everything."""


@dataclass(frozen=True)
class Thresholds:
    """The least scores that are kept; names and values in the order given.

    A record goes by its frame, a slot by `frame / slot` or its own name, both else by `*`. A record below its
    threshold goes as a whole; of the others slots below theirs go, and the record with its last filler.
    """

    values: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, source: ThresholdSource) -> "Thresholds":
        """The thresholds of a number for all types, or of a mapping from names to numbers; None has none.

        Raises:
            ConfigError: a threshold is no number from 0 to 1.
        """
        if source is None:
            return cls()
        by_name = source if isinstance(source, Mapping) else {ANY: source}
        return cls(tuple((str(name), _checked(name, value)) for name, value in by_name.items()))

    @classmethod
    def parse(cls, arguments: Iterable[str]) -> "Thresholds":
        """The thresholds of a command line: each `0.5` or `person=0.5`, of equal names the last.

        Raises:
            ConfigError: a threshold is no number from 0 to 1.
        """
        by_name = {}
        for argument in arguments:
            name, separator, value = argument.rpartition("=")
            try:
                by_name[name if separator else ANY] = float(value)
            except ValueError:
                raise ConfigError(
                    f"the threshold {show(argument)} has no number; write 0.5 for all types, or person=0.5"
                ) from None
        return cls.of(by_name)

    def or_else(self, least: float) -> "Thresholds":
        """The same, with this one for all types that have none."""
        if not least or any(name == ANY for name, _ in self.values):
            return self
        return Thresholds((*self.values, (ANY, least)))

    def check(self, schema: Schema) -> None:
        """Refuse names that the schema does not have.

        Raises:
            ConfigError: the message lists them, each with the nearest.
        """
        known = dict.fromkeys(frame.name for frame in schema.frames)
        known |= dict.fromkeys(slot for frame in schema.frames for slot in frame.slot_names)
        labels = {_label(frame.name, slot) for frame in schema.frames for slot in frame.slot_names}
        faults = [
            f"no type {show(name)} for a threshold{did_you_mean(name, [*known, ANY])}"
            for name, _ in self.values
            if name != ANY and name not in known and name not in labels
        ]
        if faults:
            raise ConfigError("; ".join(faults))

    def keep(
        self, records: Iterable[Record], dropped: Iterable[Dropped] = ()
    ) -> tuple[tuple[Record, ...], tuple[Dropped, ...]]:
        """The records that reach their thresholds, and what is left out; what has no score stays.

        Args:
            records: with their scores.
            dropped: what was left out before, for other reasons.
        """
        kept, left_out = [], list(dropped)
        for record in records:
            least = self._least(record.frame)
            slots = tuple(slot for slot in record.slots if not self._is_slot_below(record, slot))
            has_lost_all = bool(list(record.fillers())) and record.filler is None and not _has_fillers(slots)
            if _is_below(record.score, least) or has_lost_all:
                left_out.append(_dropped(record.frame, record, record.score))
                continue
            left_out += [
                _dropped(
                    _label(record.frame, slot.slot), slot, None if slot.filler is None else slot.filler.score
                )
                for slot in record.slots
                if self._is_slot_below(record, slot)
            ]
            kept.append(record if slots == record.slots else record.model_copy(update={"slots": slots}))
        return tuple(kept), tuple(left_out)

    def _is_slot_below(self, record: Record, filled: FilledSlot) -> bool:
        least = self._least(_label(record.frame, filled.slot), filled.slot)
        return filled.filler is not None and _is_below(filled.filler.score, least)

    def _least(self, *names: str) -> float:
        """The threshold of the first name that has one."""
        values = dict(self.values)
        return next((values[name] for name in (*names, ANY) if name in values), 0.0)


def _checked(name: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1:
        of_name = "" if name == ANY else f" of {show(name)}"
        raise ConfigError(f"the threshold{of_name} is {show(value)}; it has to be a number from 0 to 1")
    return float(value)


def _is_below(score: float | None, least: float) -> bool:
    return score is not None and score < least


def _has_fillers(slots: Iterable[FilledSlot]) -> bool:
    return any(slot.filler is not None for slot in slots)


def _label(frame: str, slot: str) -> str:
    return f"{frame} / {slot}"


def _dropped(label: str, element: Record | FilledSlot, score: float | None) -> Dropped:
    fillers = element.fillers() if isinstance(element, Record) else filter(None, [element.filler])
    texts = ", ".join(filler.text for filler in fillers)
    return Dropped(
        reason=BELOW, value=f"{label}: {texts} ({'no score' if score is None else f'{score:.2f}'})"
    )
