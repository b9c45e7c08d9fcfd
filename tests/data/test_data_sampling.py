import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from data_cases import example
from hypothesis import given
from hypothesis import strategies as st

from ucuie.data import low_resource, sample_examples, zero_shot_folds
from ucuie.data.mixture import repeated, shares_of
from ucuie.schema import Schema


@given(st.integers(0, 30), st.integers(1, 30), st.integers())
def test_sampling_keeps_the_order_and_the_cap(available: int, maximum: int, seed: int) -> None:
    chosen = sample_examples(range(available), maximum, random.Random(seed))
    assert len(chosen) == min(available, maximum)
    assert chosen == sorted(set(chosen))
    assert sample_examples(range(available), None, random.Random(seed)) == list(range(available))


def test_low_resource_takes_the_part_rounded_up_and_smaller_parts_lie_in_larger_ones() -> None:
    counts = {percent: len(low_resource(range(3967), percent, 0)) for percent in (1, 5, 10, 100)}
    assert counts == {1: 40, 5: 199, 10: 397, 100: 3967}  # 39.67, 198.35, 396.7
    assert len(low_resource(range(100), 7, 0)) == 7  # not 8: 100 * 0.07 is a little more than 7
    assert set(low_resource(range(500), 1, 3)) < set(low_resource(range(500), 5, 3))
    assert low_resource(range(500), 5, 3) == low_resource(range(500), 5, 3)
    assert low_resource(range(500), 5, 3) != low_resource(range(500), 5, 4)
    with pytest.raises(ValueError, match="0 % of the examples"):
        low_resource(range(5), 0, 0)


@given(st.lists(st.integers(0, 1000), min_size=1), st.integers(0, 5000), st.floats(1, 50))
def test_shares_add_up_and_grow_with_size(sizes: Sequence[int], total: int, temperature: float) -> None:
    shares = shares_of(sizes, total, temperature)
    assert sum(shares) == (total if any(sizes) else 0)
    pairs = sorted(zip(sizes, shares, strict=True))
    assert all(share <= larger + 1 for (_, share), (_, larger) in pairwise(pairs))
    assert all(share == 0 for size, share in pairs if size == 0)


@given(st.lists(st.integers(0, 10**5), min_size=1))
def test_at_temperature_one_every_set_gives_what_it_has(sizes: Sequence[int]) -> None:
    assert shares_of(sizes, sum(sizes), 1.0) == list(sizes)


def test_a_temperature_evens_sizes_out() -> None:
    # Square roots 10 and 30: a quarter and three quarters.
    assert shares_of([100, 900], 1000, 2.0) == [250, 750]
    assert shares_of([100, 900], 1000, 1e9) == [500, 500]


def test_repetitions_are_numbered_and_as_even_as_can_be() -> None:
    drawn = repeated("abc", 8, random.Random(0))
    assert len(drawn) == len(set(drawn)) == 8
    assert sum(repetition < 2 for _, repetition in drawn) == 6
    assert len(repeated("abc", 2, random.Random(0))) == 2
    assert repeated("", 0, random.Random(0)) == []


def test_a_zero_shot_set_falls_into_its_selections_of_labels() -> None:
    first, second = Schema.of(["a", "b"]), Schema.of(["c", "a"])
    examples = [
        replace(example("x", id=str(number)), schema=schema)
        for number, schema in enumerate([first, second, first])
    ]
    folds = zero_shot_folds(iter(examples))
    assert [(fold.schema, [one.id for one in fold.examples]) for fold in folds] == [
        (first, ["0", "2"]),
        (second, ["1"]),
    ]
