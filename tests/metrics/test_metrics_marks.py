"""Marks: every predicted element is right or wrong, as the scorer `offset` counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucuie.metrics import Mark, mark_elements, score
from ucuie.schema import Example, FilledSlot, Filler, Record, Schema, Task

TEXT = "abcdefgh"


def filler(start: int, score: float | None = None) -> Filler:
    return Filler(text=TEXT[start], start=start, end=start + 1, score=score)


def record(
    frame: str,
    start: int | None,
    *slots: tuple[str, int],
    score: float | None = None,
    part: float | None = None,
) -> Record:
    return Record(
        frame=frame,
        filler=None if start is None else filler(start, part),
        slots=tuple(FilledSlot(slot=slot, filler=filler(place, part)) for slot, place in slots),
        score=score,
    )


def example(task: str, *records: Record) -> Example:
    schema = Schema.of({"f": ["s", "t"], "g": ["s", "t"]} if task != "NER" else ["f", "g"])
    return Example(id="1", task=task, text=TEXT, schema=schema, records=records)  # type: ignore[arg-type]


def test_an_event_with_one_wrong_argument_by_hand() -> None:
    gold = example("EE", record("f", 0, ("s", 1), ("t", 2)))
    predicted = [record("f", 0, ("s", 1), ("t", 3), score=0.2, part=0.7)]
    assert mark_elements(gold, predicted) == [
        Mark("record", "f", 0.2, False),
        Mark("filler", "f", 0.7, True),
        Mark("slot", "f / s", 0.7, True),
        Mark("slot", "f / t", 0.7, False),
    ]


def test_an_argument_of_the_wrong_event_is_wrong() -> None:
    gold = example("EE", record("f", 0, ("s", 1)), record("f", 4))
    marks = mark_elements(gold, [record("f", 4, ("s", 1))])
    assert [mark.is_right for mark in marks if mark.kind == "slot"] == [False]


def test_a_gold_record_makes_one_prediction_right() -> None:
    marks = mark_elements(
        example("NER", record("f", 0)), [record("f", 0, score=0.9), record("f", 0, score=0.8)]
    )
    assert [mark.is_right for mark in marks if mark.kind == "record"] == [True, False]


def test_judging_is_about_types() -> None:
    blank = Record(frame="f", slots=(FilledSlot(slot="s"),))
    more = Record(frame="f", slots=(FilledSlot(slot="s"), FilledSlot(slot="t")))
    assert [mark.is_right for mark in mark_elements(example("judging", blank), [blank])] == [True]
    assert [mark.is_right for mark in mark_elements(example("judging", blank), [more])] == [False]


places = st.integers(0, 3)
entities = st.lists(st.builds(record, st.sampled_from("fg"), places), max_size=5)
events = st.lists(
    st.builds(
        lambda frame, start, slots: record(frame, start, *slots),
        st.sampled_from("fg"), places, st.lists(st.tuples(st.sampled_from("st"), places), max_size=2),
    ),
    max_size=4,
)  # fmt: skip


@pytest.mark.parametrize(
    ("task", "rows", "drawn"),
    [("NER", {"record": "frame", "filler": "NER"}, entities),
     ("EE", {"record": "frame", "filler": "ED", "slot": "EAE linked"}, events)],
)  # fmt: skip
def test_right_marks_are_the_matches_of_the_scorer(
    task: Task, rows: dict[str, str], drawn: st.SearchStrategy[list[Record]]
) -> None:
    @given(drawn, drawn)
    def check(gold: list[Record], predicted: list[Record]) -> None:
        one = example(task, *gold)
        marks = mark_elements(one, predicted)
        report = score([one], [predicted])
        for kind, row in rows.items():
            of_kind = [mark.is_right for mark in marks if mark.kind == kind]
            counts = report.micro(row)
            assert (sum(of_kind), len(of_kind)) == (counts.matched, counts.predicted)

    check()
