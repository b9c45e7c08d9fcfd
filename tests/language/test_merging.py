"""Merging equals comparing everything with everything, whenever records are let go of."""

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ucuie.language.linearize import order_records
from ucuie.language.merging import RecordMerger
from ucuie.schema import FilledSlot, Filler, Record, Schema, Span

TEXT = "abcdefghijklmnopqrstuvwxyz"
SCHEMA = Schema.of({"live in": ["subject", "object"], "Attack": ["place"]})
WINDOWS: list[Span] = [(0, 10), (6, 16), (12, 22), (18, 26)]


def filler(start: int, end: int, offset: int = 0) -> Filler:
    return Filler(text=TEXT[start:end], start=start - offset, end=end - offset)


def record(frame: str, own: Span | None, slots: Sequence[tuple[str, Span | None]], offset: int = 0) -> Record:
    return Record(
        frame=frame,
        filler=filler(*own, offset) if own else None,
        slots=tuple(
            FilledSlot(slot=slot, filler=filler(*span, offset) if span else None) for slot, span in slots
        ),
    )


def merged(found: Sequence[tuple[Span, Sequence[Record]]]) -> tuple[Record, ...]:
    merger = RecordMerger(SCHEMA)
    for window, records in found:
        merger.settle(window[0])
        merger.add(window, records)
    return merger.finish()


@st.composite
def found_in_windows(draw: st.DrawFn) -> list[tuple[Span, list[Record]]]:
    def span(start: int, end: int) -> Span:
        first = draw(st.integers(start, end - 1))
        return first, draw(st.integers(first + 1, min(end, first + 5)))

    found = []
    for start, end in WINDOWS:
        records = []
        for _ in range(draw(st.integers(0, 4))):
            frame = draw(st.sampled_from(SCHEMA.frames))
            own = span(start, end) if draw(st.booleans()) else None
            slots = [
                (
                    draw(st.sampled_from(frame.slot_names)),
                    span(start, end) if draw(st.integers(0, 4)) else None,
                )
                for _ in range(draw(st.integers(0, 2)))
            ]
            new = record(frame.name, own, slots, offset=start)
            records.append(new.model_copy(update={"score": draw(st.sampled_from([None, 0.25, 0.5]))}))
        found.append(((start, end), records))
    return found


def key_of(record: Record) -> tuple[object, ...]:
    slots = sorted(
        (filled.slot, filled.filler.span if filled.filler else (-1, -1)) for filled in record.slots
    )
    return record.frame, record.filler.span if record.filler else None, tuple(slots)


def shifted(record: Record, offset: int) -> Record:
    def moved(own: Filler | None) -> Filler | None:
        return own and Filler(text=own.text, start=own.start + offset, end=own.end + offset)

    slots = tuple(FilledSlot(slot=filled.slot, filler=moved(filled.filler)) for filled in record.slots)
    return Record(frame=record.frame, filler=moved(record.filler), slots=slots, score=record.score)


def is_part(part: Filler | None, whole: Filler | None, windows: set[Span]) -> bool:
    if part is None:
        return True
    if whole is None:
        return False
    if part.span == whole.span:
        return True
    return any(
        whole.start <= part.start
        and part.end <= whole.end
        and (whole.start == part.start or part.start == start)
        and (whole.end == part.end or part.end == end)
        for start, end in windows
    )


def gives_way(part: Record, whole: Record, windows: set[Span]) -> bool:
    slots = [filled for filled in part.slots if filled.filler]
    others = [filled for filled in whole.slots if filled.filler]
    return (
        any(True for _ in part.fillers())
        and part.frame == whole.frame
        and is_part(part.filler, whole.filler, windows)
        and any(
            all(
                mine.slot == other.slot and is_part(mine.filler, other.filler, windows)
                for mine, other in zip(slots, chosen, strict=True)
            )
            for chosen in itertools.permutations(others, len(slots))
        )
    )


def merged_slowly(found: Sequence[tuple[Span, Sequence[Record]]]) -> tuple[Record, ...]:
    """Every record against every other, largest first."""
    best: dict[tuple[object, ...], Record] = {}
    windows: dict[tuple[object, ...], set[Span]] = {}
    for window, records in found:
        for local in records:
            new = shifted(local, window[0])
            key = key_of(new)
            windows.setdefault(key, set()).add(window)
            if key not in best or (new.score or -1) > (best[key].score or -1):
                best[key] = new
    rank = {key: number for number, key in enumerate(best)}

    def size(key: tuple[object, ...]) -> tuple[int, ...]:
        fillers = list(best[key].fillers())
        return len(fillers), sum(len(own.text) for own in fillers), len(best[key].slots), -rank[key]

    kept: list[tuple[object, ...]] = []
    for key in sorted(best, key=size, reverse=True):
        if not any(
            gives_way(best[key], best[other], windows[key]) and not windows[key] & windows[other]
            for other in kept
        ):
            kept.append(key)
    return order_records((best[key] for key in sorted(kept, key=rank.__getitem__)), SCHEMA)


@given(found_in_windows())
def test_merging_equals_comparing_everything(found: list[tuple[Span, list[Record]]]) -> None:
    assert merged(found) == merged_slowly(found)


@given(found_in_windows())
def test_every_span_is_where_its_text_stands(found: list[tuple[Span, list[Record]]]) -> None:
    for merged_record in merged(found):
        for own in merged_record.fillers():
            assert TEXT[own.start : own.end] == own.text


def test_the_same_record_of_two_windows_is_one_with_the_higher_score() -> None:
    first = record("live in", None, [("subject", (6, 8)), ("object", (9, 10))])
    again = record("live in", None, [("object", (9, 10)), ("subject", (6, 8))], offset=6)
    (only,) = merged(
        [
            (WINDOWS[0], [first.model_copy(update={"score": 0.3})]),
            (WINDOWS[1], [again.model_copy(update={"score": 0.6})]),
        ]
    )
    assert only.score == 0.6
    assert [own.span for own in only.fillers()] == [(6, 8), (9, 10)]


def test_two_occurrences_of_a_string_stay_two_records() -> None:
    found = [(WINDOWS[0], [record("Attack", (1, 2), [])]), (WINDOWS[2], [record("Attack", (13, 14), [], 12)])]
    assert len(merged(found)) == 2


def test_a_frame_that_a_window_cuts_gives_way_to_the_whole() -> None:
    cut_slot = record("live in", None, [("subject", (8, 10))])
    cut_span = record("live in", None, [("subject", (8, 10)), ("object", (9, 10))])
    whole = record("live in", None, [("subject", (8, 10)), ("object", (9, 13))])
    local = record("live in", None, [("subject", (8, 10)), ("object", (9, 13))], offset=6)
    assert merged([(WINDOWS[0], [cut_slot, cut_span]), (WINDOWS[1], [local])]) == (whole,)


def test_two_events_of_one_trigger_in_one_window_are_both_kept() -> None:
    pair = [record("Attack", (7, 8), []), record("Attack", (7, 8), [("place", (8, 9))])]
    again = [record("Attack", (7, 8), [], 6), record("Attack", (7, 8), [("place", (8, 9))], 6)]
    assert len(merged([(WINDOWS[0], pair), (WINDOWS[1], again)])) == 2


def test_a_longer_span_inside_of_the_window_is_another_record() -> None:
    short = record("Attack", (7, 9), [])
    long = record("Attack", (7, 10), [], offset=6)
    assert len(merged([(WINDOWS[0], [short]), (WINDOWS[1], [long])])) == 2


def test_types_are_joined_over_all_windows() -> None:
    merger = RecordMerger(SCHEMA, types_only=True)
    merger.add(WINDOWS[0], [record("live in", None, [("object", None)]).model_copy(update={"score": 0.5})])
    merger.settle(WINDOWS[2][0])
    joined = record("live in", None, [("subject", None)]).model_copy(update={"score": 0.7})
    merger.add(WINDOWS[2], [record("Attack", None, []), joined])
    live_in, attack = merger.finish()
    assert [filled.slot for filled in live_in.slots] == ["subject", "object"]
    assert live_in.score == 0.7
    assert attack.frame == "Attack"


def test_only_records_near_the_border_are_held_open() -> None:
    merger = RecordMerger(SCHEMA)
    for start in range(0, 1_000, 10):
        window = (start, start + 15)
        merger.settle(start)
        merger.add(
            window, [Record(frame="Attack", filler=Filler(text="x", start=n, end=n + 1)) for n in range(15)]
        )
        assert merger.num_open <= 20
    assert len(merger.finish()) == 1_005
