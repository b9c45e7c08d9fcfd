"""Outputs that say the same are one answer; different answers come likeliest first."""

import math

import pytest

from ucuie.extract.result import rank_answers
from ucuie.schema import Dropped, FilledSlot, Filler, Record


def record(frame: str, start: int, score: float, *slots: str) -> Record:
    filler = Filler(text="a", start=start, end=start + 1, score=score)
    return Record(
        frame=frame, filler=filler, slots=tuple(FilledSlot(slot=slot) for slot in slots), score=score
    )


NOTE = Dropped(reason="not in the text", value="b")


def test_equal_answers_are_one_with_their_probabilities_added() -> None:
    answers = [
        ((record("person", 0, 0.4),), ()),  # 4 of 10
        ((), (NOTE,)),  # 3 of 10
        ((), ()),  # 2 of 10: says the same as the one before
        ((record("city", 0, 0.1),), ()),  # 1 of 10
    ]
    ranked = rank_answers(answers, [math.log(share / 1000) for share in (4, 3, 2, 1)])
    assert [answer.records for answer in ranked] == [(), answers[0][0], answers[3][0]]
    assert [answer.score for answer in ranked] == pytest.approx([0.5, 0.4, 0.1])
    assert ranked[0].dropped == (NOTE,)


def test_scores_reasons_and_order_make_no_other_answer() -> None:
    one, other = record("person", 0, 0.9, "a", "b"), record("person", 5, 0.8)
    again = record("person", 0, 0.2, "b", "a")
    (only,) = rank_answers([((one, other), ()), ((other, again), ())], [-1.0, -2.0])
    assert only.records == (one, other)
    assert only.score == 1


@pytest.mark.parametrize(
    "changed", [record("city", 0, 0.9), record("person", 1, 0.9), record("person", 0, 0.9, "a")]
)
def test_types_places_and_slots_make_another_answer(changed: Record) -> None:
    assert len(rank_answers([((record("person", 0, 0.9),), ()), ((changed,), ())], [-1.0, -2.0])) == 2


def test_unlikely_outputs_are_compared_as_likely_ones_are() -> None:
    ranked = rank_answers([((), ()), ((record("person", 0, 0.9),), ())], [-5000.0, -5001.0])
    assert [answer.score for answer in ranked] == pytest.approx(
        [1 / (1 + math.exp(-1)), 1 / (1 + math.e)], abs=1e-6
    )
