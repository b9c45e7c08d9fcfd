import random

import pytest
from data_cases import example, told
from hypothesis import given
from hypothesis import strategies as st

from ucuie.data import (
    SchemaAugmentation,
    capability_subset,
    generator_for,
    vary_schema,
    with_schema,
)
from ucuie.data.training import capability_example
from ucuie.language.linearize import order_records
from ucuie.schema import CAPABILITIES, Example, Frame, Schema, Slot

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
EXAMPLES = [BASE, WIDE, *(one for name in CAPABILITIES for one in capability_subset([WIDE], name))]
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
    schema = vary_schema(
        source.schema, source.records, random.Random(seed), augmentation=augmentation, negatives=negatives
    )
    found = with_schema(source, schema)
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
        generators = [generator_for(seed, WIDE.id, epoch) for seed in range(8)]
        return [vary_schema(WIDE.schema, WIDE.records, generator) for generator in generators]

    assert schemas(0) == schemas(0)
    assert schemas(0) != schemas(1)


def test_every_absent_label_is_dropped_at_times_and_kept_at_times() -> None:
    schemas = [vary_schema(WIDE.schema, WIDE.records, random.Random(seed)) for seed in range(60)]
    for frame in ABSENT:
        assert 10 < sum(frame.name in schema for schema in schemas) < 55


EVENT = example(
    "Ann gave Bo tea and Bo gave Ann milk",
    ("give", "gave", {"giver": "Ann", "thing": "tea"}),
    ("give", "gave Ann", {"giver": "Bo", "recipient": "Ann"}),
    ("drink", "tea", {"thing": "milk"}),
)
RELATION = example("Ann met Bo", ("met", None, {"subject": "Ann", "object": "Bo"}), task="RE")
ENTITY = example("Ann met Bo", ("person", "Ann", {}), ("person", "Bo", {}), task="NER")
EMPTY = example("Nothing", task="RE")


def derived(source: Example, capability: str) -> Example:
    found = capability_example(source, capability)  # type: ignore[arg-type]
    assert found is not None
    assert found.task == capability
    assert found.id == f"{source.id}/{capability}"
    assert (found.text, found.split, found.dataset) == (source.text, source.split, source.dataset)
    return found


def test_judging_names_each_frame_and_slot_once_without_text() -> None:
    found = derived(EVENT, "judging")
    assert list(map(told, found.records)) == [
        ("give", None, [("giver", None), ("thing", None), ("recipient", None)]),
        ("drink", None, [("thing", None)]),
    ]
    assert found.schema == EVENT.schema
    assert derived(EMPTY, "judging").records == ()


def test_locating_lists_each_span_under_its_own_name() -> None:
    found = derived(EVENT, "locating")
    assert found.schema.frame_names == ("give", "giver", "thing", "recipient", "drink", "other")
    assert not any(frame.slots for frame in found.schema.frames)
    assert [told(record)[:2] for record in found.records] == [
        ("giver", "Ann"),
        ("recipient", "Ann"),
        ("give", "gave"),
        ("giver", "Bo"),
        ("thing", "tea"),
        ("drink", "tea"),
        ("give", "gave Ann"),
        ("thing", "milk"),
    ]


def test_frames_that_no_text_evokes_cannot_be_located() -> None:
    found = derived(RELATION, "locating")
    assert found.schema.frame_names == ("subject", "object")
    assert [told(record)[:2] for record in found.records] == [("subject", "Ann"), ("object", "Bo")]


def test_associating_is_given_the_located_spans() -> None:
    found = derived(EVENT, "associating")
    assert (found.schema, found.records) == (EVENT.schema, EVENT.records)
    assert found.elements == derived(EVENT, "locating").records


def test_entities_and_empty_answers_have_nothing_to_associate() -> None:
    assert capability_example(ENTITY, "associating") is None
    assert capability_example(EMPTY, "associating") is None
    subsets = [list(capability_subset([EVENT, RELATION, ENTITY, EMPTY], name)) for name in CAPABILITIES]
    assert list(map(len, subsets)) == [4, 3, 2]
    assert list(capability_subset([EVENT, ENTITY], "associating")) == subsets[2][:1]


def test_a_derived_example_is_not_derived_again() -> None:
    with pytest.raises(ValueError, match="is an example of judging already"):
        capability_example(derived(EVENT, "judging"), "locating")
