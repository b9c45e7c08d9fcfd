r"""The output language: records written as one line of text, and read back from what a model wrote.

    {(Speech: delivered): [(Speaker: Barack Obama), (Place: Berlin)], (born in: Null): []}

A frame is `(name: filler): [slots]`, a slot `(name: filler)`, nothing found is `{}`. `Null` is the filler
of what exists without text. A name ends at its first unescaped `:`, a filler at its first unescaped `)`.

Writing is exact, reading is forgiving: for every Unicode text `parse(linearize(records, schema))` gives
the same names and fillers back, and from an output that is malformed or cut anywhere it keeps every
complete frame. Where the fillers stand in the text is not known here; that is `align`.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ucuie.schema import Dropped, FilledSlot, Filler, Frame, Record, Schema, Span

NULL = "Null"

_FILLER_SPECIAL = re.compile(r"([)\\])")
_NAME_SPECIAL = re.compile(r"([:)\\])")
_ESCAPED_FILLER_SPECIAL = re.compile(r"\\([)\\])")
_ESCAPED_NAME_SPECIAL = re.compile(r"\\([:)\\])")


def escape_filler(text: str) -> str:
    r"""A filler as the output writes it: `\` before `)`, `\` and a literal `Null`."""
    return "\\" + NULL if text == NULL else _FILLER_SPECIAL.sub(r"\\\1", text)


def unescape_filler(escaped: str) -> str:
    r"""The inverse of `escape_filler`; a `\` that escapes nothing stands for itself."""
    return NULL if escaped == "\\" + NULL else _ESCAPED_FILLER_SPECIAL.sub(r"\1", escaped)


def escape_name(name: str) -> str:
    r"""A frame or slot name as the output writes it: `\` before `:`, `)` and `\`."""
    return _NAME_SPECIAL.sub(r"\\\1", name)


def unescape_name(escaped: str) -> str:
    r"""The inverse of `escape_name`; a `\` that escapes nothing stands for itself."""
    return _ESCAPED_NAME_SPECIAL.sub(r"\1", escaped)


def linearize(records: Iterable[Record], schema: Schema) -> str:
    """The records as one output, in the order of `order_records`.

    An absent slot is left out, unless the schema requires it: then its filler is `Null`.

    Raises:
        KeyError: a frame or slot of the records is not in the schema.
    """
    frames = {frame.name: frame for frame in schema.frames}
    complete = [_with_required_slots(record, frames[record.frame]) for record in records]
    return "{" + ", ".join(str(without_offsets(record)) for record in order_records(complete, schema)) + "}"


def order_records(records: Iterable[Record], schema: Schema) -> tuple[Record, ...]:
    """The records, and the slots within each, in the one order that the output follows.

    Records stand by the start of their first span, wherever in the record it is, then in schema order;
    those without any span come last. Slots stand in schema order, fillers of the same slot by start.

    Raises:
        KeyError: a frame or slot of the records is not in the schema.
    """
    frames = {frame.name: (index, frame) for index, frame in enumerate(schema.frames)}

    def position(record: Record) -> tuple[float, int]:
        first_start = min((filler.start for filler in record.fillers()), default=math.inf)
        return first_start, frames[record.frame][0]

    return tuple(
        record.model_copy(update={"slots": _order_slots(record.slots, frames[record.frame][1])})
        for record in sorted(records, key=position)
    )


def _order_slots(slots: Sequence[FilledSlot], frame: Frame) -> tuple[FilledSlot, ...]:
    order = {name: index for index, name in enumerate(frame.slot_names)}
    return tuple(
        sorted(slots, key=lambda one: (order[one.slot], one.filler.start if one.filler else math.inf))
    )


def _with_required_slots(record: Record, frame: Frame) -> Record:
    present = {filled.slot for filled in record.slots}
    absent = [
        FilledSlot(slot=slot.name) for slot in frame.slots if slot.required and slot.name not in present
    ]
    return record.model_copy(update={"slots": (*record.slots, *absent)})


def without_offsets(record: Record) -> "ParsedFrame":
    """A record as an output has it: its names and the texts of its fillers, not where they stand."""
    slots = tuple(ParsedSlot(filled.slot, _text_of(filled.filler)) for filled in record.slots)
    return ParsedFrame(record.frame, _text_of(record.filler), slots)


def _text_of(filler: Filler | None) -> str | None:
    return None if filler is None else filler.text


@dataclass(frozen=True)
class ParsedSlot:
    """One `(name: filler)` of an output; as a string, how the output writes it.

    The ranges are half-open, in code points of the output, of the name and filler as written (escaped);
    they lead from tokens to elements and play no part in equality.
    """

    slot: str
    filler: str | None
    name_range: Span = field(default=(0, 0), compare=False)
    filler_range: Span = field(default=(0, 0), compare=False)

    def __str__(self) -> str:
        return f"({escape_name(self.slot)}: {NULL if self.filler is None else escape_filler(self.filler)})"


@dataclass(frozen=True)
class ParsedFrame:
    """One complete frame of an output; the ranges are those of its name and its own filler."""

    frame: str
    filler: str | None
    slots: tuple[ParsedSlot, ...] = ()
    name_range: Span = field(default=(0, 0), compare=False)
    filler_range: Span = field(default=(0, 0), compare=False)

    def __str__(self) -> str:
        return f"{ParsedSlot(self.frame, self.filler)}: [{', '.join(map(str, self.slots))}]"


@dataclass(frozen=True)
class Parsed:
    """The complete frames of an output in order, and every other stretch with the reason."""

    frames: tuple[ParsedFrame, ...]
    dropped: tuple[Dropped, ...]


def parse(output: str) -> Parsed:
    """The frames of an output that any model wrote, well-formed or not.

    Blanks between elements and missing or doubled commas are forgiven. After a fault, reading goes on
    at the next bracket that opens a complete frame. What follows the closing brace is dropped: models
    that run on invent another text there. Time is linear in the output's length.
    """
    frames: list[ParsedFrame] = []
    dropped: list[Dropped] = []
    position = _skip(_OPENING, output, 0)
    while position < len(output) and output[position] != "}":
        try:
            frame, end = _parse_frame(output, position)
            frames.append(frame)
        except _Fault as fault:
            end = fault.resume
            dropped.append(Dropped(reason=fault.reason, value=output[position:end].rstrip()))
        position = _skip(_GAP, output, end)
    if rest := output[position + 1 :].strip():
        dropped.append(Dropped(reason="text after the end of the output", value=rest))
    return Parsed(frames=tuple(frames), dropped=tuple(dropped))


# Possessive quantifiers: a filler that never ends is scanned once, not once per way to backtrack.
_NAME = re.compile(r"(?:[^:)\\]++|\\.)*+", re.DOTALL)
_FILLER = re.compile(r"(?:[^)\\]++|\\.)*+", re.DOTALL)
_OPENING = re.compile(r"\s*\{?[\s,]*")
_GAP = re.compile(r"[\s,]*")
_SLOTS_OPENING = re.compile(r"\s*:\s*\[[\s,]*")

_CUT = "the output ends within a frame"


class _Fault(Exception):  # noqa: N818 - control flow within this module, not an error
    """No complete frame stands here; the next one starts at `resume` or after it."""

    def __init__(self, reason: str, resume: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.resume = resume


def _parse_frame(output: str, start: int) -> tuple[ParsedFrame, int]:
    """The frame that starts at `start`, and its end.

    Raises:
        _Fault: there is no complete frame. No part of the output is read more than twice, because
            `resume` is either past what was read or the start of the last element read.
    """
    head, end = _parse_element(output, start)
    opening = _SLOTS_OPENING.match(output, end)
    if opening is None:
        raise _fault("a frame without a list of slots", output, end)
    position = opening.end()
    slots = []
    while not output.startswith("]", position):
        slot_start = position
        slot, end = _parse_element(output, slot_start)
        position = _skip(_GAP, output, end)
        if output.startswith(":", position):
            # Not a slot but the next frame: the list of slots was never closed.
            raise _Fault("a list of slots without an end", slot_start)
        slots.append(slot)
    frame = ParsedFrame(head.slot, head.filler, tuple(slots), head.name_range, head.filler_range)
    return frame, position + 1


def _parse_element(output: str, start: int) -> tuple[ParsedSlot, int]:
    """The `(name: filler)` that starts at `start`, and its end; raises as `_parse_frame`."""
    if not output.startswith("(", start):
        raise _fault("not a frame or slot", output, start)
    name_start = start + 1
    name_end = _skip(_NAME, output, name_start)
    if not output.startswith(":", name_end):
        raise _fault("a name without a filler", output, name_end)
    filler_start = name_end + (2 if output.startswith(" ", name_end + 1) else 1)
    filler_end = _skip(_FILLER, output, filler_start)
    if not output.startswith(")", filler_end):
        raise _Fault(_CUT, len(output))
    escaped = output[filler_start:filler_end]
    element = ParsedSlot(
        unescape_name(output[name_start:name_end]),
        None if escaped == NULL else unescape_filler(escaped),
        (name_start, name_end),
        (filler_start, filler_end),
    )
    return element, filler_end + 1


def _fault(reason: str, output: str, position: int) -> _Fault:
    """A fault found at `position`: the next frame can only start at a later `(`."""
    if _skip(_GAP, output, position) == len(output):
        return _Fault(_CUT, len(output))
    bracket = output.find("(", position)
    return _Fault(reason, len(output) if bracket < 0 else bracket)


def _skip(pattern: re.Pattern[str], output: str, start: int) -> int:
    """The end of a pattern that matches everywhere, if only the empty string."""
    match = pattern.match(output, start)
    assert match is not None
    return match.end()
