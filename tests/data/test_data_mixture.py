import random
from pathlib import Path

from data_cases import example
from hypothesis import given
from hypothesis import strategies as st

from ucuie.data import (
    MixtureOptions,
    SchemaAugmentation,
    augment_schema,
    build_mixture,
    capability_subsets,
    generator_for,
    normalised_text,
    sample_examples,
    write_examples,
)
from ucuie.linearize import order_records
from ucuie.schema import Example, Frame, Schema, Slot, Split

BASE = example(
    "Ann gave Bo tea", ("give", "gave", {"giver": "Ann", "thing": "tea", "time": None}), ("drink", "tea", {})
)
ABSENT = [Frame(name=f"frame {number}", slots=(Slot(name="a"), Slot(name="b"))) for number in range(6)]
WIDE = Example(
    id="set/train/2",
    task="EE",
    text=BASE.text,
    schema=Schema(frames=(*BASE.schema.frames, *ABSENT)),
    records=BASE.records,
)
SUBSETS = capability_subsets([WIDE])
EXAMPLES = [BASE, WIDE, *SUBSETS.judging, *SUBSETS.locating, *SUBSETS.associating]
AUGMENTATIONS = st.builds(
    SchemaAugmentation,
    shuffle=st.booleans(),
    keep_all=st.floats(0, 1),
    max_frames=st.none() | st.integers(1, 10),
    max_negatives=st.integers(0, 2),
)


@given(st.sampled_from(EXAMPLES), AUGMENTATIONS, st.integers(0, 10**6))
def test_an_augmented_example_asks_for_all_that_stands_in_the_text(
    source: Example, augmentation: SchemaAugmentation, seed: int
) -> None:
    negatives = [Frame(name="weather"), Frame(name="frame of mind")]
    found = augment_schema(source, random.Random(seed), augmentation=augmentation, negatives=negatives)
    assert {str(record.filler) for record in found.records} == {
        str(record.filler) for record in source.records
    }
    assert sum(len(record.slots) for record in found.records) == sum(len(r.slots) for r in source.records)
    assert found.records == order_records(found.records, found.schema)
    assert (found.text, found.id, found.elements) == (source.text, source.id, source.elements)
    added = set(found.schema.frame_names) - set(source.schema.frame_names)
    assert added <= ({"weather", "frame of mind"} if augmentation.max_negatives else set())
    assert "frame of mind" not in added or "frame 0" not in source.schema
    present = {record.frame for record in source.records}
    if augmentation.max_frames is not None:
        assert len(found.schema.frames) - len(added) <= max(augmentation.max_frames, len(present), 1)


def test_an_example_is_augmented_alike_in_each_run_and_otherwise_in_each_epoch() -> None:
    def schemas(epoch: int) -> list[Schema]:
        return [augment_schema(WIDE, generator_for(seed, WIDE.id, epoch)).schema for seed in range(8)]

    assert schemas(0) == schemas(0)
    assert schemas(0) != schemas(1)


def test_every_absent_label_is_dropped_at_times_and_kept_at_times() -> None:
    schemas = [augment_schema(WIDE, random.Random(seed)).schema for seed in range(60)]
    for frame in ABSENT:
        assert 10 < sum(frame.name in schema for schema in schemas) < 55


@given(st.integers(0, 30), st.integers(1, 30), st.integers())
def test_sampling_keeps_the_order_and_the_cap(available: int, maximum: int, seed: int) -> None:
    examples = [example("x", id=str(number)) for number in range(available)]
    chosen = sample_examples(examples, maximum, random.Random(seed))
    assert len(chosen) == min(available, maximum)
    assert [int(item.id) for item in chosen] == sorted({int(item.id) for item in chosen})
    assert sample_examples(examples, None, random.Random(seed)) == examples


def test_two_copies_of_a_text_are_the_same_whatever_the_tokenizer_did() -> None:
    assert normalised_text("Well-known `` drugs '' ( AED ) .") == normalised_text(
        'well - known "drugs" (AED).'
    )
    assert normalised_text("ﬁt") == normalised_text("fit")
    assert normalised_text(":-)") != normalised_text(":-(")


def test_the_mixture_leaves_out_what_is_tested_on_and_says_so(tmp_path: Path) -> None:
    def item(dataset: str, split: Split, text: str) -> Example:
        return example(text, id=f"{dataset}/{split}/{text}", dataset=dataset, split=split)

    contents: dict[str, dict[Split, list[str]]] = {
        "one": {"train": ["a", "b", "c", "d"], "test": ["B."]},
        "two": {"train": ["e", "f"], "validation": ["C"]},
        "three": {"test": ["F!"]},
    }
    for dataset, splits in contents.items():
        (tmp_path / dataset).mkdir()
        for split, texts in splits.items():
            write_examples(
                tmp_path / dataset / f"{split}.jsonl", [item(dataset, split, text) for text in texts]
            )
    mixture = build_mixture(
        [tmp_path / "one", tmp_path / "two"],
        held_out=[tmp_path / "three"],
        options=MixtureOptions(max_per_dataset=1),
    )
    assert sorted(found.dataset for found in mixture.examples) == ["one", "two"]
    shares = {name: (share.available, share.leaked, share.used) for name, share in mixture.shares.items()}
    assert shares == {"one": (4, 2, 1), "two": (2, 1, 1)}
    whole = build_mixture([tmp_path / "one"], options=MixtureOptions(max_per_dataset=None))
    assert sorted(found.text for found in whole.examples) == ["a", "c", "d"]
