import json
import pickle
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from data_cases import example, write_sets
from hypothesis import given
from hypothesis import strategies as st

from ucuie.data import (
    DatasetShare,
    MixtureOptions,
    build_mixture,
    normalised_text,
    read_examples,
    read_predictions,
    sample_examples,
    write_examples,
    write_low_resource,
    write_zero_shot_folds,
    zero_shot_folds,
)
from ucuie.data.mixture import dataset_folders, low_resource, repeated, shares_of
from ucuie.errors import ConfigError, DataError
from ucuie.schema import Schema, Split

CONTENTS: dict[str, dict[Split, Sequence[str]]] = {
    "one": {"train": "abcd", "test": ["B."]},
    "two": {"train": "ef", "validation": "C"},
    "three": {"test": ["F!", "f", "b"]},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_sets(tmp_path / "sets", CONTENTS)
    return tmp_path / "sets"


def test_two_copies_of_a_text_are_the_same_whatever_the_tokenizer_did() -> None:
    assert normalised_text("Well-known `` drugs '' ( AED ) .") == normalised_text(
        'well - known "drugs" (AED).'
    )
    assert normalised_text("ﬁt") == normalised_text("fit")
    assert normalised_text(":-)") != normalised_text(":-(")


def test_the_mixture_leaves_out_what_is_tested_on_and_says_so(folder: Path) -> None:
    mixture = build_mixture(
        [folder / "one", folder / "two"],
        held_out=[folder / "three"],
        options=MixtureOptions(max_per_dataset=1),
    )
    assert sorted(found.dataset for found in mixture.examples) == ["one", "two"]
    assert mixture.shares == {
        # "b" stands in two held-out splits.
        "one": DatasetShare(
            available=4, leaked=2, leaked_from={"one/test": 1, "two/validation": 1, "three/test": 1}, used=1
        ),
        "two": DatasetShare(available=2, leaked=1, leaked_from={"three/test": 1}, used=1),
    }
    whole = build_mixture([folder / "one"], options=MixtureOptions(max_per_dataset=None))
    assert sorted(found.text for found in whole.examples) == ["a", "c", "d"]


def test_a_whole_folder_of_converted_sets_can_be_held_out(folder: Path) -> None:
    assert [path.name for path in dataset_folders(folder)] == ["one", "three", "two"]
    mixture = build_mixture([folder / "one"], held_out=[folder])
    assert sorted(found.text for found in mixture.examples) == ["a", "d"]
    (folder / "empty").mkdir()
    write_sets(folder, {".staged-1": {"test": "a"}})  # what a killed conversion leaves
    assert [path.name for path in dataset_folders(folder)] == ["one", "three", "two"]
    with pytest.raises(DataError, match="there is no JSONL file"):
        dataset_folders(folder / "empty")


def test_a_mixture_is_a_sequence_that_is_parsed_when_asked_for(folder: Path) -> None:
    examples = build_mixture([folder / "one", folder / "two"]).examples
    texts = [found.text for found in examples]
    assert sorted(texts) == ["a", "d", "e", "f"]
    assert [found.text for found in examples[1:3]] == texts[1:3]
    assert examples[-1].text == texts[-1]
    with pytest.raises(IndexError):
        examples[4]
    assert list(pickle.loads(pickle.dumps(examples))) == list(examples)


def test_sets_of_the_same_name_are_kept_apart(folder: Path, tmp_path: Path) -> None:
    write_sets(tmp_path / "other", {"one": {"train": "xa", "test": "d"}})
    folders = [folder / "one", tmp_path / "other" / "one"]
    mixture = build_mixture(folders)
    assert sorted(found.text for found in mixture.examples) == ["a", "a", "c", "x"]
    assert list(mixture.shares) == list(map(str, folders))


def test_a_temperature_repeats_small_sets_under_ids_of_their_own(tmp_path: Path) -> None:
    write_sets(tmp_path, {"small": {"train": "a"}, "large": {"train": "bcdefghij"}})
    options = MixtureOptions(temperature=2)
    mixture = build_mixture([tmp_path / "small", tmp_path / "large"], options=options)
    # Roots 1 and 3 of 10 examples: 2.5 and 7.5, the half goes to the first.
    assert {name: share.used for name, share in mixture.shares.items()} == {"small": 3, "large": 7}
    ids = [found.id for found in mixture.examples]
    assert sorted(ids)[-3:] == ["small/train/a", "small/train/a#2", "small/train/a#3"]
    assert len(set(ids)) == 10
    larger = build_mixture([tmp_path / "small"], options=MixtureOptions(size=2))
    assert len(larger.examples) == 2


def test_a_low_resource_mixture_takes_its_part_before_anything_else(tmp_path: Path) -> None:
    write_sets(tmp_path, {"set": {"train": [str(number) for number in range(150)]}})
    mixture = build_mixture([tmp_path / "set"], options=MixtureOptions(percent=1))
    assert mixture.shares["set"].available == len(mixture.examples) == 2
    other = build_mixture([tmp_path / "set"], options=MixtureOptions(percent=1, seed=1))
    assert {found.id for found in other.examples} != {found.id for found in mixture.examples}


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
    with pytest.raises(ConfigError, match="0 % of the examples"):
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
    assert [(schema, [one.id for one in fold]) for schema, fold in folds.items()] == [
        (first, ["0", "2"]),
        (second, ["1"]),
    ]


def test_a_low_resource_folder_has_a_part_of_the_training_split_alone(tmp_path: Path) -> None:
    write_examples(tmp_path / "train.jsonl", [example("x", id=str(number)) for number in range(30)])
    write_examples(tmp_path / "test.jsonl", [example("x", id="t", split="test")] * 3)
    assert write_low_resource(tmp_path, tmp_path / "part", percent=5, seed=0) == 2
    splits = [found.split for found in read_examples(tmp_path / "part")]
    assert splits == ["train"] * 2 + ["test"] * 3
    with pytest.raises(ConfigError, match="0 % of the examples"):
        write_low_resource(tmp_path, tmp_path / "part", percent=0, seed=0)


def test_a_zero_shot_set_becomes_a_folder_for_each_selection(tmp_path: Path) -> None:
    schemas = [Schema.of(["a"]), Schema.of(["b"]), Schema.of(["a"])]
    examples = [
        replace(example("x", id=str(number), split="test"), schema=schema)
        for number, schema in enumerate(schemas)
    ]
    write_examples(tmp_path / "test.jsonl", examples)
    assert write_zero_shot_folds(tmp_path, tmp_path / "folds") == [2, 1]
    assert [one.id for one in read_examples(tmp_path / "folds" / "seed-0")] == ["0", "2"]


def test_predictions_are_found_by_id_and_all_faults_are_named(tmp_path: Path) -> None:
    golds = [example("Ann ran", ("run", "ran", {}), id="1"), example("x", id="2")]
    records = [record.model_dump(mode="json") for record in golds[0].records]
    lines = [{"id": "2", "records": [], "seconds": 1}, {"id": "1", "records": records}]
    path = tmp_path / "predictions.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    assert read_predictions(path, golds) == [golds[0].records, ()]
    path.write_text('{"id": "1", "records": [{}]}\n[]\n{\n{"id": "2", "records": []}\n' * 2)
    with pytest.raises(DataError) as error:
        read_predictions(path, golds)
    assert len(error.value.faults) == 8
    assert error.value.faults[-1] == "no prediction for '1'"
