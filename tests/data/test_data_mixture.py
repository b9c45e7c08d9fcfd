import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest
from data_cases import write_sets

from ucuie.data import (
    DatasetShare,
    MixtureOptions,
    build_mixture,
    dataset_folders,
    normalised_text,
)
from ucuie.errors import DataError
from ucuie.schema import Split

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
