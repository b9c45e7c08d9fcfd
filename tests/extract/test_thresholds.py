"""Thresholds: what is below goes and is listed, what is above stays as it was."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucuie.errors import ConfigError
from ucuie.extract.options import BELOW, Thresholds
from ucuie.schema import Dropped, FilledSlot, Filler, Record, Schema

SCHEMA = Schema.of({"Speech": ["Speaker", "Place"], "person": []})


def filler(score: float | None = None) -> Filler:
    return Filler(text="Ada", start=0, end=3, score=score)


def speech(score: float | None, *, trigger: bool = True, **slots: float | None) -> Record:
    filled = tuple(FilledSlot(slot=slot, filler=filler(value)) for slot, value in slots.items())
    return Record(frame="Speech", filler=filler(0.9) if trigger else None, slots=filled, score=score)


def kept(source: Any, *records: Record) -> list[Record]:
    return list(Thresholds.of(source).keep(records)[0])


def test_none_keeps_all() -> None:
    assert kept(None, speech(0.0, Speaker=0.0)) == [speech(0.0, Speaker=0.0)]


def test_a_record_below_goes_as_a_whole_and_is_listed() -> None:
    before = Dropped(reason="earlier", value="x")
    records, dropped = Thresholds.of(0.5).keep([speech(0.49, Speaker=0.9), speech(0.5)], [before])
    assert records == (speech(0.5),)
    assert dropped == (before, Dropped(reason=BELOW, value="Speech: Ada, Ada (0.49)"))


def test_a_slot_below_goes_alone() -> None:
    records, dropped = Thresholds.of({"Place": 0.5}).keep([speech(0.3, Speaker=0.2, Place=0.4)])
    assert records == (speech(0.3, Speaker=0.2),)
    assert dropped == (Dropped(reason=BELOW, value="Speech / Place: Ada (0.40)"),)


def test_a_record_goes_with_its_last_filler_and_is_listed_once() -> None:
    records, dropped = Thresholds.of({"Speaker": 0.5}).keep([speech(0.9, trigger=False, Speaker=0.4)])
    assert (records, len(dropped)) == ((), 1)


def test_the_nearest_name_counts() -> None:
    source = {"*": 0.9, "Speech": 0.1, "Speaker": 0.5, "Speech / Speaker": 0.2}
    assert kept(source, speech(0.1, Speaker=0.2, Place=0.9)) == [speech(0.1, Speaker=0.2, Place=0.9)]
    assert kept(source, Record(frame="person", filler=filler(), score=0.8)) == []


def test_what_has_no_score_or_no_text_stays() -> None:
    blank = Record(frame="Speech", slots=(FilledSlot(slot="Speaker"),), score=None)
    assert kept(1, blank) == [blank]
    assert kept(1, speech(None, Speaker=None)) == [speech(None, Speaker=None)]


scores = st.floats(0, 1)


@given(scores, scores, st.lists(st.tuples(scores, scores, scores), max_size=6))
def test_a_higher_threshold_keeps_less(one: float, other: float, drawn: list[tuple[float, ...]]) -> None:
    records = [speech(score, Speaker=first, Place=second) for score, first, second in drawn]
    lower, higher = sorted([one, other])
    few = {id(filler) for record in kept(higher, *records) for filler in record.fillers()}
    many = {id(filler) for record in kept(lower, *records) for filler in record.fillers()}
    assert few <= many


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf"), True, "0.5", None])
def test_what_is_no_threshold_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="number from 0 to 1"):
        Thresholds.of({"person": value})


def test_names_are_those_of_the_schema() -> None:
    Thresholds.of({"*": 0.1, "Speech": 0.1, "Place": 0.1, "Speech / Speaker": 0.1}).check(SCHEMA)
    with pytest.raises(ConfigError, match=r"'persn'.*did you mean 'person'.*'Plaace'.*'Place'"):
        Thresholds.of({"persn": 0.1, "Plaace": 0.1}).check(SCHEMA)


def test_a_name_that_is_empty_is_unknown() -> None:
    with pytest.raises(ConfigError, match="no type ''"):
        Thresholds.parse(["=0.5"]).check(SCHEMA)


def test_the_command_line_is_read() -> None:
    thresholds = Thresholds.parse(["0.4", "person=0.7", "a=b=1"])
    assert dict(thresholds.values) == {"*": 0.4, "person": 0.7, "a=b": 1.0}
    assert Thresholds.parse([]) == Thresholds()


@pytest.mark.parametrize("argument", ["person", "person=", "=x", "0,5", "", "2", "person=-1", "nan"])
def test_a_bad_argument_is_refused(argument: str) -> None:
    with pytest.raises(ConfigError, match="threshold"):
        Thresholds.parse([argument])


def test_what_has_no_threshold_goes_by_another_and_0_is_one() -> None:
    assert Thresholds.of(None).or_else(0.4) == Thresholds.of({}).or_else(0.4) == Thresholds.of(0.4)
    assert Thresholds.of(0).or_else(0.4) == Thresholds.of(0)
    assert Thresholds.of({"person": 0.7}).or_else(0.4) == Thresholds.of({"person": 0.7, "*": 0.4})
    assert Thresholds.of({"*": 0.1}).or_else(0.4) == Thresholds.of(0.1)
    assert Thresholds.of(None).or_else(0.0) == Thresholds()
