"""Calibration: monotone, never worse by much, honest about what it has seen, and a file that is checked."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ucuie.evaluation.fitting import (
    Elements,
    chance_error,
    cross_validated,
    expected_calibration_error,
    fit,
    log_loss,
    reliability,
)
from ucuie.model.calibration import Calibration, Calibrator, Isotonic, Sigmoid
from ucuie.schema import FilledSlot, Filler, Record


def drawn(count: int, truth: object, *, seed: int = 0) -> Elements:
    """Elements that are right with the probability `truth(score)`, one a text."""
    generator = np.random.default_rng(seed)
    scores = generator.random(count)
    return Elements(scores, generator.random(count) < truth(scores), np.arange(count))  # type: ignore[operator]


def temperature_2(scores: np.ndarray) -> np.ndarray:
    odds = scores / (1 - scores)
    return np.sqrt(odds) / (1 + np.sqrt(odds))


# --- Errors ------------------------------------------------------------------------------------------------


def test_the_error_of_two_bins_by_hand() -> None:
    scores = np.array([0.1, 0.3, 0.6, 0.8])
    is_right = np.array([False, True, True, True])
    low, high = reliability(scores, is_right, num_bins=2)
    assert (low.num_elements, low.mean_score, low.accuracy) == (2, pytest.approx(0.2), 0.5)
    assert (high.lowest, high.highest, high.accuracy) == (0.6, 0.8, 1.0)
    # (2 * |0.2 - 0.5| + 2 * |0.7 - 1|) / 4
    assert expected_calibration_error(scores, is_right, num_bins=2) == pytest.approx(0.3)


def test_nothing_has_no_error() -> None:
    nothing, no_verdicts = np.array([]), np.array([], dtype=bool)
    assert expected_calibration_error(nothing, no_verdicts) == log_loss(nothing, no_verdicts) == 0
    assert reliability(nothing, no_verdicts) == ()


def test_perfect_scores_show_the_error_of_chance() -> None:
    elements = drawn(2000, lambda scores: scores)
    error = expected_calibration_error(elements.scores, elements.is_right)
    assert error == pytest.approx(chance_error(elements.scores), abs=0.015)


def test_the_log_loss_of_a_sure_mistake_is_finite() -> None:
    assert log_loss(np.array([1.0]), np.array([False])) == pytest.approx(np.log(1e6), rel=1e-3)


# --- Fitting -----------------------------------------------------------------------------------------------


def test_a_temperature_is_found() -> None:
    curve = fit(drawn(5000, temperature_2))
    assert curve.method == "temperature"
    assert curve.scale == pytest.approx(0.5, abs=0.05)


def test_a_sigmoid_is_found() -> None:
    curve = fit(drawn(5000, lambda scores: 0.5 * scores / (0.5 * scores + 1 - scores)))
    assert curve.method == "sigmoid"
    assert curve.shift == pytest.approx(np.log(0.5), abs=0.15)


def test_a_shape_that_no_sigmoid_has_needs_isotonic_regression() -> None:
    elements = drawn(5000, lambda scores: np.where(scores < 0.8, 0.1, 0.9))
    curve = fit(elements)
    assert curve.method == "isotonic"
    assert curve(np.array([0.2, 0.9])) == pytest.approx([0.1, 0.9], abs=0.05)


def test_what_is_right_already_is_left_alone() -> None:
    methods = [fit(drawn(1000, lambda scores: scores, seed=seed)).method for seed in range(5)]
    assert methods.count("none") >= 4


@pytest.mark.parametrize("count", [0, 1, 19])
def test_a_few_elements_change_nothing(count: int) -> None:
    elements = drawn(count, lambda scores: 0 * scores)
    assert fit(elements).method == "none"
    assert np.array_equal(cross_validated(elements), elements.scores) or count >= 5


def test_many_elements_of_few_texts_change_nothing() -> None:
    elements = drawn(1000, lambda scores: 0 * scores)
    of_four = Elements(elements.scores, elements.is_right, np.arange(1000) % 4)
    assert fit(of_four).method == "none"
    assert np.array_equal(cross_validated(of_four), of_four.scores)


@pytest.mark.parametrize("verdict", [0.0, 1.0])
def test_elements_that_are_all_right_or_all_wrong_give_no_certainty(verdict: float) -> None:
    elements = drawn(1000, lambda scores: np.full_like(scores, verdict))
    calibrated = fit(elements)(np.array([0.0, 0.5, 1.0]))
    assert ((calibrated > 0) & (calibrated < 1)).all()
    assert np.abs(calibrated - verdict).max() < 0.05


def test_cross_validation_lowers_the_error_of_texts_it_has_not_seen() -> None:
    elements = drawn(3000, temperature_2)
    before = expected_calibration_error(elements.scores, elements.is_right)
    after = expected_calibration_error(cross_validated(elements), elements.is_right)
    assert before > 0.08
    assert after < 0.04


def test_cross_validation_sees_nothing_of_the_texts_it_scores() -> None:
    # Verdicts are noise that is the same within a text: whoever has seen the text knows all.
    generator = np.random.default_rng(3)
    texts = np.repeat(np.arange(100), 20)
    verdicts = generator.random(100) < 0.5
    elements = Elements(texts / 100 + 1e-4 * generator.random(2000), verdicts[texts], texts)
    assert log_loss(cross_validated(elements), elements.is_right) > 0.6


samples = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=20, max_size=400)


@given(samples)
def test_every_method_is_monotone_and_within_0_and_1(sample: list[tuple[float, bool]]) -> None:
    from ucuie.evaluation.fitting import _FITS

    scores, verdicts = map(np.array, zip(*sample, strict=True))
    elements = Elements(scores, verdicts, np.arange(len(scores)))
    grid = np.concatenate([[0, 1e-9, 1 - 1e-9, 1], np.linspace(0, 1, 101)])
    grid.sort()
    for fit_curve in _FITS.values():
        curve = fit_curve(elements)
        calibrated = curve(grid)
        assert (np.diff(calibrated) >= -1e-12).all()
        assert ((calibrated >= 0) & (calibrated <= 1)).all()


def test_the_likelier_never_becomes_the_less_likely_even_if_it_is_wrong_more_often() -> None:
    curve = fit(drawn(2000, lambda scores: 1 - scores))
    assert (np.diff(curve(np.linspace(0, 1, 50))) >= 0).all()


# --- Use and file ------------------------------------------------------------------------------------------

HALF = Sigmoid(method="temperature", scale=0.5)
LOW = Isotonic(scores=(0.2, 0.8), probabilities=(0.1, 0.3))
CALIBRATION = Calibration(
    texts={"set": 10},
    calibrators=(
        Calibrator(kind="record", task="NER", curve=LOW, num_elements=200, num_right=40),
        Calibrator(kind="record", curve=HALF, num_elements=300, num_right=90),
        Calibrator(kind="slot", curve=LOW, num_elements=300, num_right=90),
    ),
)


def record(score: float | None = 0.8) -> Record:
    filler = Filler(text="a", start=0, end=1, score=0.8)
    return Record(frame="f", filler=filler, slots=(FilledSlot(slot="s", filler=filler),), score=score)


def test_each_kind_and_task_has_its_own_calibrator() -> None:
    (of_ner,) = CALIBRATION.apply([record()], "NER")
    (of_events,) = CALIBRATION.apply([record()], "EE")
    assert of_ner.score == 0.3
    assert of_events.score == pytest.approx(2 / 3, abs=1e-6)  # odds of 4 become odds of 2
    assert [filler.score for filler in of_ner.fillers()] == [0.8, 0.3]  # no calibrator for fillers of frames


def test_capabilities_do_not_share() -> None:
    assert CALIBRATION.apply([record()], "judging") == (record(),)


def test_without_a_score_there_is_none_afterwards() -> None:
    (calibrated,) = CALIBRATION.apply([record(None)], "NER")
    assert calibrated.score is None


def test_the_file_is_read_back() -> None:
    assert Calibration.model_validate_json(CALIBRATION.to_json()) == CALIBRATION
    assert json.loads(CALIBRATION.to_json())["format_version"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format_version": 2}, "format_version"),
        ({"more": 1}, "more"),
        ({"calibrators": [{"kind": "record", "curve": {"method": "magic"}}]}, "curve"),
        (
            {"calibrators": [{"kind": "record", "num_elements": 1, "num_right": 1,
                              "curve": {"method": "sigmoid", "scale": -1}}]},
            "scale",
        ),
        (
            {"calibrators": [{"kind": "record", "num_elements": 1, "num_right": 1,
                              "curve": {"method": "isotonic", "scores": [0, 1], "probabilities": [1, 0]}}]},
            "fall",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_a_file_that_is_none_is_refused(change: dict[str, object], said: str) -> None:
    content = json.dumps(json.loads(CALIBRATION.to_json()) | change)
    with pytest.raises(ValidationError, match=said):
        Calibration.model_validate_json(content)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"null"])
def test_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(ValidationError):
        Calibration.model_validate_json(content)
