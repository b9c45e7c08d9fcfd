"""`schema check`: a good schema gets no warnings, each doubtful thing gets one, at its line."""

from pathlib import Path

import pytest

from ucuie.errors import SchemaError
from ucuie.schema import Schema
from ucuie.schema.drafting import LONG_DESCRIPTION, LONG_NAME, MANY_FRAMES, check_schema


def warnings(source: object) -> list[str]:
    return [advice.words for advice in check_schema(source).advice]


@pytest.mark.parametrize(
    "source",
    [
        ["person", "organization", "location"],
        {"work for": ["subject", "object"], "live in": ["subject", "object"]},
        {"positive": ["aspect", "opinion"], "negative": ["aspect", "opinion"]},
        {"employee": "a person who is paid", "employer": "an organization that pays"},
        {"other": "whatever names something, but no person and no place"},
    ],
)
def test_a_good_schema_has_no_warnings(source: object) -> None:
    assert warnings(source) == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (["work for", "works for"], "'work for' and 'works for' have nearly the same name"),
        (["Person", "person"], "nearly the same name"),
        (["data breach", "data_breach"], "nearly the same name"),
        (["international organisation", "international organization"], "nearly the same name"),
        (["caf\u00e9", "cafe\u0301"], "nearly the same name"),
        (
            {"entities": ["person"], "relations": {"lives in": "a"}},
            "'entities' was read as a type with slots",
        ),
        ({"meet": ["person", "persons"]}, "the slots of 'meet' 'person' and 'persons'"),
        (
            {"a": "the person who was hurt in the accident", "b": "a person hurt in the accident who was"},
            "nearly the same description",
        ),
        (["PER"], "the type 'PER' is an abbreviation; write out 'person'"),
        (["B-ORG"], "write out 'organization'"),
        (["other"], "does not say what belongs to it"),
        (["birthPlace"], "reads better as 'birth place'"),
        ({"meet": ["meeting_place"]}, "the slot 'meeting_place' reads better as 'meeting place'"),
        (["x" * (LONG_NAME + 1)], "is long"),
        ({"a": "b" * (LONG_DESCRIPTION + 1)}, f"has {LONG_DESCRIPTION + 1} characters"),
        ({"city": "a city"}, "says no more than the name"),
        ({"person": ["person", "age"]}, "the mention itself is found without a slot"),
        (
            {"meet": {"slotz": "a", "when": "b"}},
            "'slotz' of 'meet' was read as a slot, not as a key; did",
        ),
        ({"meet": {"description": "a", "when": "b"}}, "'description' of 'meet' was read as a slot"),
        (
            [f"kind {number:x}" * 2 for number in range(MANY_FRAMES + 1)],
            f"{MANY_FRAMES + 1} types in one schema",
        ),
    ],
)
def test_each_doubtful_thing_is_warned_about_once(source: object, words: str) -> None:
    assert len([one for one in warnings(source) if words in one]) == 1


def test_warnings_have_the_lines_of_the_file_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        "work for: [subject, object]\nmeet:\n  slots:\n    meet: null\n    who: null\nworks for: [a, b]\n"
    )
    assert [(advice.line, advice.words[:20]) for advice in check_schema(path).advice] == [
        (4, "the slot 'meet' is n"),
        (6, "the types 'work for'"),
    ]


def test_the_schema_itself_comes_along() -> None:
    assert (
        check_schema(["person"]).schema == Schema.of(["person"]) == check_schema(Schema.of(["person"])).schema
    )


def test_keys_that_nobody_knows_have_their_line_and_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("frames:\n- name: a\n  slotz: []\n- name: b\n  slots:\n  - name: c\n    descripton: d\n")
    with pytest.raises(SchemaError) as raised:
        check_schema(path)
    first, second = str(raised.value).splitlines()
    assert "frames.0: the key 'slotz' is not known; did you mean 'slots'?" in first
    assert first.endswith(f"({path}, line 3)")
    assert "frames.1.slots.0: the key 'descripton' is not known; did you mean 'description'?" in second
    assert second.endswith(f"({path}, line 7)")


def test_a_list_in_the_place_of_a_description_says_where_slots_stand() -> None:
    with pytest.raises(SchemaError, match="stand under 'slots'"):
        check_schema({"meet": {"slotz": ["who"], "description": "people come together"}})


def test_thousands_of_names_are_checked_in_a_moment() -> None:
    assert len(check_schema([f"{number:05}" for number in range(5_000)]).advice) == 1
