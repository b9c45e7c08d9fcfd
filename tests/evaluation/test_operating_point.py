"""The operating point: counted by hand, equal to a slow obvious version, honest about what it has seen."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ucuie.evaluation.choosing import F1_FOR_SILENCE, NEUTRAL, THRESHOLDS, choose_point, f1_by_threshold
from ucuie.extract.options import Thresholds
from ucuie.metrics import HEADLINE_ROWS, score
from ucuie.model.calibration import Calibration
from ucuie.model.operating_point import OperatingPoint
from ucuie.schema import Example, FilledSlot, Filler, Record, Schema

TEXT = "a b c d e f g h"
ENTITIES = Schema.of(["letter"])
RELATIONS = Schema.of({"follow": ["first", "second"]})


def filler(place: int, score: float | None = None) -> Filler:
    return Filler(text=TEXT[2 * place], start=2 * place, end=2 * place + 1, score=score)


def letter(place: int, score: float | None = None) -> Record:
    return Record(frame="letter", filler=filler(place, score), score=score)


def follow(first: int, second: int, score: float, *, least: float = 1.0) -> Record:
    slots = (
        FilledSlot(slot="first", filler=filler(first, least)),
        FilledSlot(slot="second", filler=filler(second, 1.0)),
    )
    return Record(frame="follow", slots=slots, score=score)


def example(*records: Record, dataset: str = "set", task: Any = "NER", schema: Schema = ENTITIES) -> Example:
    return Example(
        id="1", dataset=dataset, task=task, split="validation", text=TEXT, schema=schema, records=records
    )


def uncalibrated(examples: Sequence[Example], found: Sequence[Sequence[Record]]) -> Calibration:
    return Calibration()


def at(f1: np.ndarray, threshold: float) -> float:
    return float(f1[THRESHOLDS.index(threshold)])


# --- F1 by threshold ---------------------------------------------------------------------------------------


def test_f1_of_three_finds_by_hand() -> None:
    f1 = f1_by_threshold([example(letter(0), letter(1))], [[letter(0, 0.9), letter(5, 0.5), letter(1, 0.3)]])
    # 2 * right / (2 in the gold + found)
    assert at(f1, 0.0) == at(f1, 0.3) == 100 * 2 * 2 / (2 + 3)
    assert at(f1, 0.31) == at(f1, 0.5) == 100 * 2 * 1 / (2 + 2)
    assert at(f1, 0.51) == at(f1, 0.9) == pytest.approx(100 * 2 * 1 / (2 + 1))
    assert at(f1, 0.91) == at(f1, 0.99) == 0


def test_a_slot_below_the_threshold_goes_and_makes_the_relation_wrong() -> None:
    gold = example(follow(0, 1, 1.0), task="RE", schema=RELATIONS)
    f1 = f1_by_threshold([gold], [[follow(0, 1, 0.8, least=0.4)]])
    assert (at(f1, 0.4), at(f1, 0.41)) == (100, 0)


def test_every_data_set_counts_the_same() -> None:
    large = [example(letter(0), dataset="large") for _ in range(9)]
    f1 = f1_by_threshold([*large, example(letter(0), dataset="small")], [*[[letter(0, 1.0)]] * 9, []])
    assert at(f1, 0.0) == 50


scores = st.one_of(st.none(), st.integers(0, 100).map(lambda number: number / 100), st.floats(0, 1))
letters = st.lists(st.builds(letter, st.integers(0, 7), scores), max_size=5)
relations = st.lists(
    st.builds(follow, st.integers(0, 3), st.integers(4, 7), st.floats(0, 1), least=st.floats(0, 1)),
    max_size=3,
)
texts = st.one_of(
    st.tuples(
        st.builds(
            lambda records, dataset: example(*records, dataset=dataset), letters, st.sampled_from("xy")
        ),
        letters,
    ),
    st.tuples(
        st.builds(lambda records: example(*records, dataset="z", task="RE", schema=RELATIONS), relations),
        relations,
    ),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(texts, min_size=1, max_size=6))
def test_f1_by_threshold_is_that_of_each_threshold_alone(
    drawn: list[tuple[Example, list[Record]]],
) -> None:
    examples, found = [gold for gold, _ in drawn], [records for _, records in drawn]
    with_records = {gold.dataset for gold in examples if gold.records}
    expected = []
    for threshold in THRESHOLDS:
        kept = [Thresholds.of(threshold).keep(records)[0] for records in found]
        rows: dict[str, list[float]] = {}
        for one in score(examples, kept).scores:
            if one.row in HEADLINE_ROWS and one.dataset in with_records:
                rows.setdefault(one.dataset, []).append(one.counts.f1)
        expected.append(np.mean([np.mean(f1) for f1 in rows.values()]) if rows else 0.0)
    assert f1_by_threshold(examples, found) == pytest.approx(expected)


# --- The choice --------------------------------------------------------------------------------------------


def test_a_threshold_is_the_least_that_parts_right_from_wrong() -> None:
    examples = [example(letter(0)) for _ in range(20)]
    chosen = choose_point(examples, {0.0: [[letter(0, 0.9), letter(1, 0.2)]] * 20}, uncalibrated)
    assert chosen.point == OperatingPoint(end_bias=0.0, threshold={"NER": 0.21})
    (one,) = chosen.datasets
    # Before: 20 right of 40 found; after: 20 of 20.
    assert (one.dataset, one.num_texts) == ("set", 20)
    assert (one.before, one.after) == (pytest.approx(100 * 2 * 20 / (20 + 40)), 100)
    assert (chosen.before, chosen.after) == (one.before, one.after)


def test_a_bias_that_finds_what_is_missing_is_chosen_with_the_threshold_that_it_needs() -> None:
    examples = [example(letter(0), letter(1)) for _ in range(20)]
    found = {
        0.0: [[letter(0, 0.9)]] * 20,
        1.0: [[letter(0, 0.9), letter(1, 0.6), letter(2, 0.1)]] * 20,
        2.0: [[letter(0, 0.9), letter(1, 0.6), letter(2, 0.1), letter(3, 0.7)]] * 20,
    }
    chosen = choose_point(examples, found, uncalibrated)
    assert chosen.point == OperatingPoint(end_bias=1.0, threshold={"NER": 0.11})
    assert chosen.end_biases == (0.0, 1.0, 2.0)
    assert (chosen.before, chosen.after) == (pytest.approx(200 / 3), 100)


def test_each_task_has_the_threshold_that_is_best_for_it() -> None:
    entities = [example(letter(0), dataset="entities") for _ in range(20)]
    relations = [example(follow(0, 1, 1.0), dataset="pairs", task="RE", schema=RELATIONS) for _ in range(20)]
    found = [[letter(0, 0.9), letter(1, 0.7)]] * 20 + [[follow(0, 1, 0.3), follow(1, 2, 0.1)]] * 20
    chosen = choose_point([*entities, *relations], {0.0: found}, uncalibrated)
    assert chosen.point == OperatingPoint(threshold={"NER": 0.71, "RE": 0.11})
    assert [(one.dataset, one.after) for one in chosen.datasets] == [("entities", 100), ("pairs", 100)]
    assert (chosen.false_finds_before, chosen.false_finds_after) == (None, None)
    thresholds = {"NER": 0.71, "RE": 0.11, "EE": 0.0, "ABSA": 0.0}
    assert chosen.point.thresholds == thresholds
    assert chosen.point.threshold_of("judging") == 0
    assert str(chosen.point) == "end bias 0; threshold 0.71 for NER, 0.11 for RE, 0 for EE, 0 for ABSA"


@pytest.mark.parametrize(("num_right", "threshold"), [(1, 0.21), (60, 0.0)])
def test_a_little_f1_is_given_for_finding_less_where_there_is_nothing(
    num_right: int, threshold: float
) -> None:
    # Of 500 right finds `num_right` have a score as low as what is found in texts without anything.
    texts = [example(letter(0)) for _ in range(500)]
    found = [[letter(0, 0.2 if number < num_right else 0.9)] for number in range(500)]
    silent = [example(dataset="nothing") for _ in range(5)]
    chosen = choose_point([*texts, *silent], {0.0: [*found, *[[letter(0, 0.2)]] * 5]}, uncalibrated)
    assert chosen.point.threshold_of("NER") == threshold
    assert chosen.false_finds_before == 100
    assert chosen.false_finds_after == (0 if threshold else 100)
    assert [one.dataset for one in chosen.datasets] == ["set"]
    assert chosen.after >= chosen.before - F1_FOR_SILENCE


def test_of_equal_points_the_most_neutral_is_chosen() -> None:
    examples = [example(letter(0)) for _ in range(20)]
    found = {bias: [[letter(0, 0.9)]] * 20 for bias in (-1.0, 0.0, 0.5)}
    assert choose_point(examples, found, uncalibrated).point == NEUTRAL
    worse = {0.0: [[letter(1, 0.9)]] * 20, **{bias: [[letter(0, 0.9)]] * 20 for bias in (2.0, 3.0)}}
    assert choose_point(examples, worse, uncalibrated).point == OperatingPoint(2.0, 0.0)


def test_a_large_data_set_does_not_decide() -> None:
    # Under the bias the small set gains all and the large one loses a third.
    large = [example(letter(0), dataset="large") for _ in range(50)]
    small = [example(letter(0), dataset="small") for _ in range(10)]
    found = {
        0.0: [[letter(0, 0.9)]] * 50 + [[]] * 10,
        1.0: [[letter(0, 0.9), letter(1, 0.9)]] * 50 + [[letter(0, 0.9)]] * 10,
    }
    chosen = choose_point(large + small, found, uncalibrated)
    assert chosen.point == OperatingPoint(1.0, 0.0)
    assert [(one.dataset, one.before) for one in chosen.datasets] == [("large", 100), ("small", 0)]
    assert [one.after for one in chosen.datasets] == [pytest.approx(200 / 3), 100]


def test_what_helps_only_the_texts_it_was_chosen_on_is_not_taken() -> None:
    # Scores say nothing: any threshold that seems to help does so by chance.
    generator = np.random.default_rng(0)
    num_neutral = 0
    for _ in range(10):
        examples = [example(letter(0), letter(1)) for _ in range(15)]
        found = [
            [letter(place, float(generator.random())) for place in range(3)]
            for _ in examples
        ]  # fmt: skip
        chosen = choose_point(examples, {0.0: found}, uncalibrated)
        num_neutral += chosen.point == NEUTRAL
        assert chosen.after >= chosen.before
    assert num_neutral >= 8


def test_folds_are_calibrated_and_chosen_without_their_texts() -> None:
    examples = [example(letter(0), dataset=f"set {number % 2}") for number in range(20)]
    sizes = []

    def fit(examples: Sequence[Example], found: Sequence[Sequence[Record]]) -> Calibration:
        sizes.append((len(examples), len({one.dataset for one in examples})))
        assert len(found) == len(examples)
        return Calibration()

    choose_point(examples, {0.0: [[letter(0, 0.9), letter(1, 0.2)]] * 20}, fit)
    assert sizes == [(16, 2)] * 5 + [(20, 2)]


def test_parts_of_answers_are_left_aside() -> None:
    judged = example(Record(frame="letter"), task="judging", dataset="judged")
    examples = [judged, *(example(letter(0)) for _ in range(10))]
    found = {0.0: [[Record(frame="letter", score=0.1)], *[[letter(0, 0.9), letter(1, 0.2)]] * 10]}
    chosen = choose_point(examples, found, uncalibrated)
    assert [one.dataset for one in chosen.datasets] == ["set"]
    assert chosen.point.threshold == {"NER": 0.21}


@pytest.mark.parametrize("num_texts", [0, 1, 4])
def test_few_texts_leave_the_neutral_point(num_texts: int) -> None:
    examples = [example(letter(0)) for _ in range(num_texts)]
    found = {0.0: [[letter(0, 0.9), letter(1, 0.2)]] * num_texts}
    chosen = choose_point(examples, found, uncalibrated)
    assert chosen.point == NEUTRAL
    assert chosen.before == chosen.after
