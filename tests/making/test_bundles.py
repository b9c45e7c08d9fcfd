"""Bundles of texts that are asked the same: what must hold of each, whatever was drawn."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from making.absent import may_be_asked
from making.bundles import Absent, BundleOptions, bundles, pools
from ucuie.schema import Example, FilledSlot, Filler, Frame, Record, Schema, Slot

PLAIN = BundleOptions(renamed=0, described=0, styled=0, foreign=0)


def _mention(text: str, name: str, words: str) -> Record:
    start = text.index(words)
    return Record(frame=name, filler=Filler(text=words, start=start, end=start + len(words)))


def _entities(number: int) -> Example:
    text = f"Ada went to Rome by train {number}."
    return Example(
        id=f"a/{number}",
        dataset="a",
        task="NER",
        text=text,
        schema=Schema(
            frames=tuple(Frame(name=one) for one in ("person", "place", "ship", "year", "other year"))
        ),
        records=(_mention(text, "person", "Ada"), _mention(text, "place", "Rome")) if number % 3 else (),
    )


def _events(number: int) -> Example:
    """Each text has a schema of its own: one event with what it is about."""
    verb, *slots = [
        ("melted", "solid", "heat", "place"),
        ("married", "bride", "groom", "place"),
        ("sneezed", "sneezer"),
    ][number % 3]
    text = f"Number {number} {verb} Bob in Rome."
    record = _mention(text, verb, verb)
    filler = Filler(text="Bob", start=text.index("Bob"), end=text.index("Bob") + 3)
    return Example(
        id=f"e/{number}",
        dataset="e",
        task="EE",
        text=text,
        schema=Schema(frames=(Frame(name=verb, slots=tuple(Slot(name=slot) for slot in slots)),)),
        records=(record.model_copy(update={"slots": (FilledSlot(slot=slots[0], filler=filler),)}),),
    )


def _made(
    examples: list[Example], absent: Absent, options: BundleOptions, seed: int = 0
) -> list[list[Example]]:
    generator = random.Random(seed)
    return [one for pool in pools(examples, absent, {}) for one in bundles(pool, options, generator)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("make", "absent"), [(_entities, "schema"), (_events, "source"), (_events, "none")])
def test_a_bundle_is_asked_the_same_and_its_records_are_in_its_schema(
    make: Callable[[int], Example], absent: Absent, seed: int
) -> None:
    examples = [make(number) for number in range(60)]
    made = _made(examples, absent, BundleOptions(), seed)
    assert Counter(one.id for bundle in made for one in bundle).most_common(1)[0][1] == 1
    for bundle in made:
        assert len({(one.task, one.dataset, one.schema) for one in bundle}) == 1
        assert 1 <= len(bundle) <= 8
        assert 1 <= len(bundle[0].schema.frames) <= 14
        for one in bundle:
            assert {record.frame for record in one.records} <= set(one.schema.frame_names)
            assert Example.from_json(one.to_json()) == one


def test_texts_of_a_bundle_have_room_in_a_row() -> None:
    made = _made([_entities(number) for number in range(60)], "schema", BundleOptions(max_characters=100))
    assert {len(bundle) for bundle in made} == {3}


def test_what_is_asked_for_and_annotated_is_in_the_records() -> None:
    examples = {one.id: one for one in map(_entities, range(60))}
    for bundle in _made(list(examples.values()), "schema", PLAIN):
        for one in bundle:
            asked = set(one.schema.frame_names)
            assert set(one.records) == {r for r in examples[one.id].records if r.frame in asked}


def test_what_is_left_of_a_set_is_asked_for_only_with_all_the_others() -> None:
    examples = [_entities(number) for number in range(60)]
    whole = set(examples[0].schema.frame_names)
    asked = [set(bundle[0].schema.frame_names) for bundle in _made(examples, "schema", PLAIN)]
    left = whole - {"person", "place", "ship", "year"}
    assert left
    assert whole in asked
    assert all(names == whole or not names & left for names in asked)


def test_a_type_of_another_text_is_asked_for_only_where_it_is_surely_absent() -> None:
    examples = {one.id: one for one in map(_events, range(60))}
    made = _made(list(examples.values()), "source", PLAIN)
    added = 0
    for bundle in made:
        for one in bundle:
            own = examples[one.id].schema.frame_names
            for name in set(one.schema.frame_names) - set(own):
                assert may_be_asked(name, own, one.text)
                added += 1
    assert added


def test_no_type_is_added_where_none_may() -> None:
    for bundle in _made([_events(number) for number in range(60)], "none", PLAIN):
        assert len(bundle[0].schema.frames) == 1


def test_types_of_another_field_can_be_all_that_is_asked_for() -> None:
    relation = Frame(name="shareholder", slots=(Slot(name="subject"), Slot(name="object")))
    foreign = {"NER": [Frame(name="protein"), Frame(name="person")], "RE": [relation]}
    (pool,) = pools([_entities(number) for number in range(300)], "schema", foreign)
    options = BundleOptions(renamed=0, described=0, styled=0, all_absent=0.5)
    found = set()
    for bundle in bundles(pool, options, random.Random(1)):
        names = bundle[0].schema.frame_names
        found.update(names)
        if "shareholder" in names:
            assert names == ("shareholder",)
            assert bundle[0].task == "RE"
            assert not any(one.records for one in bundle)
    assert {"protein", "shareholder"} <= found


def test_events_may_lack_roles_and_keep_what_is_filled_otherwise() -> None:
    (pool,) = pools([_events(number * 3) for number in range(300)], "none", {})
    shapes = {
        (len(one.schema.frames[0].slots), len(one.records[0].slots))
        for bundle in bundles(pool, PLAIN, random.Random(0))
        for one in bundle
    }
    assert shapes <= {(1, 1), (2, 1), (3, 1)}
    assert len(shapes) == 3


def test_the_same_seed_makes_the_same_bundles() -> None:
    examples = [_events(number) for number in range(60)]
    assert _made(examples, "source", BundleOptions(), 3) == _made(examples, "source", BundleOptions(), 3)
    assert _made(examples, "source", BundleOptions(), 3) != _made(examples, "source", BundleOptions(), 4)


def test_texts_of_schemas_of_their_own_are_asked_for_what_all_were_annotated_for() -> None:
    names = ("person", "place", "ship", "year")
    examples = {}
    for number in range(60):
        one = _entities(number)
        frames = tuple(Frame(name=name) for name in names[: 2 + number % 3])
        examples[one.id] = replace(one, schema=Schema(frames=(*frames, Frame(name=f"own {number}"))))
    (pool,) = pools(list(examples.values()), "schema", {})
    made = list(bundles(pool, PLAIN, random.Random(0)))
    assert max(map(len, made)) > 3
    for bundle in made:
        for one in bundle:
            assert set(one.schema.frame_names) <= set(examples[one.id].schema.frame_names)


def test_a_type_of_entities_is_not_asked_for_where_names_have_no_type() -> None:
    def one(number: int, text: str, name: str, words: str) -> Example:
        frames = (Frame(name=name),)
        record = _mention(text, name, words)
        return Example(id=str(number), task="NER", text=text, schema=Schema(frames=frames), records=(record,))

    known = [one(n, f"Minsk has {n} houses.", "town", "Minsk") for n in range(20)]
    unknown = [one(n, f"Eccles, {n}, was seen in Oslo.", "boxer", "Eccles") for n in range(20, 40)]
    for bundle in _made([*known, *unknown], "source", PLAIN):
        if any(text.text.startswith("Eccles") for text in bundle):
            assert bundle[0].schema.frame_names == ("boxer",)
        else:
            assert "town" in bundle[0].schema.frame_names or bundle[0].schema.frame_names == ("boxer",)
