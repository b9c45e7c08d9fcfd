"""Puts together what was found in the overlapping windows of one text.

In: the records of each window, with offsets in that window. Out: the records of the text. A record that two
windows hold is one record; one that a window holds only a part of gives way to the whole. Two records of one
window are both meant, however alike they are. Only records near the last window's border are compared; the
rest is settled.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ucuie.language.linearize import order_records
from ucuie.schema import Filler, Record, Schema, Span

_Key = tuple[str, Span | None, tuple[tuple[str, Span | None], ...]]


class RecordMerger:
    """Merges the records of one text's windows, in the order of the windows.

    Args:
        schema: gives the records their order.
        types_only: the records say only which frames and slots there are (judging): each frame once, with
            the slots of all windows.
    """

    def __init__(self, schema: Schema, *, types_only: bool = False) -> None:
        self._schema = schema
        self._types_only = types_only
        self._settled: list[tuple[int, Record]] = []
        self._open: dict[_Key, _Found] = {}
        self._num_found = 0

    @property
    def num_open(self) -> int:
        """Records that later windows may still change."""
        return len(self._open)

    def add(self, window: Span, records: Iterable[Record]) -> None:
        """Takes the records of a window, whose offsets count from the window's start."""
        for record in records:
            record = shift_record(record, window[0])
            key = (record.frame, None, ()) if self._types_only else _key(record)
            found = self._open.get(key)
            if found is None:
                self._open[key] = _Found(self._num_found, record, [window])
                self._num_found += 1
                continue
            found.windows.append(window)
            if self._types_only:
                found.record = _with_slots_of_both(found.record, record)
            elif _score(record) > _score(found.record):
                found.record = record

    def settle(self, position: int) -> None:
        """Lets go of what no window that begins at `position` or later can change."""
        # A record without spans may come again anywhere.
        self._settle(
            [key for key, found in self._open.items() if found.end is not None and found.end <= position]
        )

    def finish(self) -> tuple[Record, ...]:
        """The records of the text, in the order of the output; no window may follow."""
        self._settle(list(self._open))
        self._settled.sort(key=lambda pair: pair[0])
        return order_records((record for _, record in self._settled), self._schema)

    def _settle(self, keys: Sequence[_Key]) -> None:
        kept = self._kept_ranks()
        for key in keys:
            found = self._open.pop(key)
            if found.rank in kept:
                self._settled.append((found.rank, found.record))

    def _kept_ranks(self) -> set[int]:
        """The open records that are no cut forms of others that are kept."""
        kept: defaultdict[str, list[_Found]] = defaultdict(list)
        for found in sorted(self._open.values(), key=_Found.size, reverse=True):
            larger = kept[found.record.frame]
            if not any(_is_cut_form(found, other) for other in larger):
                larger.append(found)
        return {found.rank for of_frame in kept.values() for found in of_frame}


@dataclass
class _Found:
    """A record and the windows it was found in; `rank` tells which was found first."""

    rank: int
    record: Record
    windows: list[Span]
    end: int | None = field(init=False)

    def __post_init__(self) -> None:
        self.end = max((filler.end for filler in self.record.fillers()), default=None)

    def size(self) -> tuple[int, int, int, int]:
        """Greater than that of every cut form."""
        lengths = [filler.end - filler.start for filler in self.record.fillers()]
        return len(lengths), sum(lengths), len(self.record.slots), -self.rank


def _is_cut_form(part: _Found, whole: _Found) -> bool:
    """True if a record is what a window makes of another one that it does not hold whole.

    All of its spans are spans of the other one, or pieces of those that end where the window does.
    """
    if part.end is None or not set(part.windows).isdisjoint(whole.windows):
        return False
    left, wanted = _elements(whole.record), _elements(part.record)
    # Equal spans first, that a cut one does not take their counterpart.
    for windows in ((), part.windows):
        unmatched = []
        for name, filler in wanted:
            match = next(
                (other for other in left if other[0] == name and _is_same_or_cut(filler, other[1], windows)),
                None,
            )
            if match is None:
                unmatched.append((name, filler))
            else:
                left.remove(match)
        wanted = unmatched
    return not wanted


def _elements(record: Record) -> list[tuple[str | None, Filler]]:
    """The fillers of a record by their slots, its own by None."""
    elements = [(None, record.filler), *((filled.slot, filled.filler) for filled in record.slots)]
    return [(name, filler) for name, filler in elements if filler is not None]


def _is_same_or_cut(part: Filler, whole: Filler, windows: Sequence[Span]) -> bool:
    return part.span == whole.span or any(
        (whole.start == part.start or whole.start < part.start == start)
        and (whole.end == part.end or whole.end > part.end == end)
        for start, end in windows
    )


def _key(record: Record) -> _Key:
    slots = [(filled.slot, None if filled.filler is None else filled.filler.span) for filled in record.slots]
    # Null before spans.
    slots.sort(key=lambda pair: (pair[0], pair[1] or (-1, -1)))
    return record.frame, None if record.filler is None else record.filler.span, tuple(slots)


def _score(record: Record) -> float:
    return -1.0 if record.score is None else record.score


def _with_slots_of_both(record: Record, other: Record) -> Record:
    slots = {filled.slot: filled for filled in (*other.slots, *record.slots)}
    return max(record, other, key=_score).model_copy(update={"slots": tuple(slots.values())})


def shift_record(record: Record, offset: int) -> Record:
    """The record with all of its spans moved."""
    if not offset:
        return record
    slots = tuple(
        filled.model_copy(update={"filler": _moved(filled.filler, offset)}) for filled in record.slots
    )
    return record.model_copy(update={"filler": _moved(record.filler, offset), "slots": slots})


def _moved(filler: Filler | None, offset: int) -> Filler | None:
    if filler is None:
        return None
    return filler.model_copy(update={"start": filler.start + offset, "end": filler.end + offset})
