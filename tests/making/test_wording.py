"""The words that schemas ask in."""

import random

import pytest
import yaml

from making.wording import NAMES, STYLES, Wording, other_words, reworded
from ucuie.schema import FilledSlot, Filler, Frame, Record, Schema, Slot

SCHEMA = Schema(
    frames=(
        Frame(name="person"),
        Frame(name="individual"),
        Frame(name="work for", slots=(Slot(name="subject"), Slot(name="object", description="Who pays."))),
    )
)
RECORD = Record(
    frame="work for",
    slots=(FilledSlot(slot="subject", filler=Filler(text="Ada", start=0, end=3)), FilledSlot(slot="object")),
)


@pytest.mark.parametrize("seed", range(60))
def test_schemas_and_records_are_renamed_alike(seed: int) -> None:
    new, renaming = reworded(SCHEMA, Wording(renamed=0.6, described=0.5, styled=0.5), random.Random(seed))
    assert len(set(new.frame_names)) == 3
    (record,) = renaming.applied([RECORD])
    frame = new.frames[2]
    assert record.frame == frame.name
    assert [slot.slot for slot in record.slots] == list(frame.slot_names)
    assert record.slots[0].filler == RECORD.slots[0].filler


def test_nothing_changes_when_nothing_may() -> None:
    new, renaming = reworded(SCHEMA, Wording(renamed=0, described=0, styled=0), random.Random(0))
    assert new.frame_names == SCHEMA.frame_names
    assert new.frames[2].slots[1].description is None  # a description is one of the ways to vary
    assert renaming.applied([RECORD]) == [RECORD]


def test_a_type_that_describes_itself_keeps_its_own_description() -> None:
    schema = Schema(frames=(Frame(name="person", description="Anybody."), Frame(name="gene")))
    described = set()
    for seed in range(30):
        new, _ = reworded(schema, Wording(renamed=0, described=1, styled=0), random.Random(seed))
        described.add(tuple(frame.description for frame in new.frames))
    gene = other_words(Frame(name="gene")).description
    assert ("Anybody.", gene) in described
    assert described <= {(first, second) for first in ("Anybody.", None) for second in (gene, None)}


def test_users_write_names_in_many_ways() -> None:
    assert {style("credit card") for style in STYLES} == {
        "Credit Card", "CREDIT CARD", "CREDIT_CARD", "credit_card", "creditCard", "CreditCard",
        "credit cards",
    }  # fmt: skip
    assert {style("person") for style in STYLES} == {"Person", "PERSON", "person", "people"}
    assert STYLES[-1]("city") == "cities"
    assert STYLES[-1]("based in") == "based in"


def test_no_other_name_of_a_type_is_the_name_of_two() -> None:
    for types in yaml.safe_load(NAMES.read_text("utf-8")).values():
        for name, words in types.items():
            assert words.keys() <= {"names", "description", "slots"}, name
            assert name not in words["names"], name
            assert len(set(words["names"])) == len(words["names"]), name
            assert len(words["description"]) <= 70, name


def test_names_that_are_phrases_keep_their_spelling() -> None:
    name = "country, city or state"
    schema = Schema(frames=(Frame(name=name), Frame(name="person")))
    for seed in range(20):
        new, _ = reworded(schema, Wording(renamed=0, described=0, styled=1), random.Random(seed))
        assert new.frame_names[0] == name
