import pytest
from data_cases import example, told

from ucuie.data import capability_example, capability_subset, capability_subsets
from ucuie.schema import Example

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
    subsets = capability_subsets([EVENT, RELATION, ENTITY, EMPTY])
    assert (len(subsets.judging), len(subsets.locating), len(subsets.associating)) == (4, 3, 2)
    assert subsets.left_out == {
        "NER without anything for associating": 1,
        "RE without anything for locating": 1,
        "RE without anything for associating": 1,
    }
    assert tuple(capability_subset([EVENT, ENTITY], "associating")) == (subsets.associating[0],)


def test_a_derived_example_is_not_derived_again() -> None:
    with pytest.raises(ValueError, match="is an example of judging already"):
        capability_example(derived(EVENT, "judging"), "locating")
