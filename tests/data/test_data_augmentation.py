import random

from data_cases import example
from hypothesis import given
from hypothesis import strategies as st

from ucuie.data import (
    SchemaAugmentation,
    augment_schema,
    capability_subsets,
    generator_for,
)
from ucuie.language.linearize import order_records
from ucuie.schema import Example, Frame, Schema, Slot

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
