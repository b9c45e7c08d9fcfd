"""The instruction text: the paper's form, and a schema that reads in one way only."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucuie.errors import ConfigError
from ucuie.language.pool import INSTRUCTION_TASKS, InstructionPool, build_instruction
from ucuie.schema import Frame, Schema, Slot

AWKWARD = st.text(st.sampled_from("abn .,:;()[]{}\\\n'\""), min_size=1, max_size=6).filter(str.strip)
DESCRIPTIONS = st.none() | st.just("x.y: z")
SLOTS = st.builds(Slot, name=AWKWARD, description=DESCRIPTIONS)
SLOT_LISTS = st.lists(SLOTS, max_size=3, unique_by=lambda slot: slot.name)
FRAMES = st.builds(Frame, name=AWKWARD, description=DESCRIPTIONS, slots=SLOT_LISTS.map(tuple))
FRAME_LISTS = st.lists(FRAMES, min_size=1, max_size=3, unique_by=lambda frame: frame.name)
SCHEMAS = FRAME_LISTS.map(lambda frames: Schema(frames=tuple(frames)))


def unescape(escaped: str) -> str:
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], escaped)


def read_schema(line: str) -> dict[str, list[str]]:
    frames: dict[str, list[str]] = {}
    slots, is_slot = [], False
    for token in re.findall(r"[\[\]]|(?:\\.|[^\\,:\[\]{}])+", line):
        if token in "[]":
            is_slot = token == "["
        elif name := unescape(token.strip()):
            if is_slot:
                slots.append(name)
            else:
                slots = frames.setdefault(name, [])
    return frames


def read_described(line: str) -> tuple[str, str | None]:
    key = re.match(r"(?:\\.|[^\\:])*", line)[0]
    frame = re.match(r"(?:\\.|[^\\.])*", key)[0]
    return unescape(frame), unescape(key[len(frame) + 1 :]) or None


@given(SCHEMAS)
def test_schema_of_an_instruction_reads_in_one_way_only(schema: Schema) -> None:
    wording, schema_line, *description_lines, last_line = (
        build_instruction("F {schema}", schema).replace("F {", "F\n{", 1).split("\n")
    )
    assert (wording, last_line) == ("F", "Text:")
    assert read_schema(schema_line) == {frame.name: list(frame.slot_names) for frame in schema.frames}
    described: list[tuple[str, str | None]] = []
    for frame in schema.frames:
        described += [(frame.name, None)] if frame.description else []
        described += [(frame.name, slot.name) for slot in frame.slots if slot.description]
    assert [read_described(line) for line in description_lines] == described


def test_schema_has_the_form_of_the_paper() -> None:
    schema = Schema.of({"Speech": ["Speaker", "Place"], "Attack": []})
    assert (
        build_instruction("Events: {schema}", schema)
        == "Events: {Speech: [Speaker, Place], Attack: []}\nText:"
    )


def test_frames_without_slots_are_plain_names() -> None:
    assert (
        build_instruction("Which {schema}?", Schema.of(["person", "city"])) == "Which {person, city}?\nText:"
    )


def test_descriptions_follow_one_a_line() -> None:
    schema = Schema.of(
        {
            "Speech": {"description": "someone\n  addresses others", "slots": {"Speaker": "who talks"}},
            "Attack": [],
        }
    )
    assert build_instruction("Do {schema}.", schema).split("\n")[1:] == [
        "Speech: someone addresses others",
        "Speech.Speaker: who talks",
        "Text:",
    ]


def test_blank_descriptions_are_left_out() -> None:
    schema = Schema.of({"city": {"description": " \n"}})
    assert build_instruction("Do {schema}.", schema) == "Do {city}.\nText:"


def test_ordinary_names_are_shown_as_they_stand() -> None:
    names = ["U.S. state", "part-of (direct", "R&D 'lab'", "人物", "n"]
    assert build_instruction("Do {schema}.", Schema.of(names)).startswith("Do {" + ", ".join(names) + "}.")


def test_names_that_look_like_the_placeholder_stay_names() -> None:
    assert build_instruction("Do {schema}.", Schema.of(["{schema}"])) == "Do {\\{schema\\}}.\nText:"


@pytest.mark.parametrize("task", INSTRUCTION_TASKS)
def test_every_packaged_wording_builds_an_instruction(task: str) -> None:
    for wording in InstructionPool.load().wordings(task):
        instruction = build_instruction(wording, Schema.of({"a": ["b"]}))
        assert instruction.count("{a: [b]}") == 1
        assert instruction.endswith("\nText:")


def test_unusable_wording_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="'Find it' is not a wording"):
        build_instruction("Find it", Schema.of(["a"]))
