from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timing import process_seconds
from ucuie.language.align import NOT_IN_TEXT, TOO_OFTEN, UNKNOWN_FRAME, UNKNOWN_SLOT, Alignment, align
from ucuie.language.linearize import ParsedFrame, ParsedSlot, linearize, parse
from ucuie.schema import FilledSlot, Filler, Record, Schema, record_faults

SCHEMA = Schema.of(
    {
        "person": [],
        "place": [],
        "lives in": ["who", "where"],
        "Attack": ["Attacker", "Victim"],
        "trio": ["a", "b", "c"],
    }
)


def entity(name: str, filler: str | None) -> ParsedFrame:
    return ParsedFrame(name, filler)


def lives(who: str | None, where: str | None) -> ParsedFrame:
    return ParsedFrame("lives in", None, (ParsedSlot("who", who), ParsedSlot("where", where)))


def attack(trigger: str | None, *arguments: tuple[str, str | None]) -> ParsedFrame:
    return ParsedFrame("Attack", trigger, tuple(ParsedSlot(*argument) for argument in arguments))


def spans(alignment: Alignment) -> list[list[int]]:
    """For each record the starts of its filler and of its slots."""
    return [[filler.start for filler in record.fillers()] for record in alignment.records]


# Few letters and many blanks: strings occur often, inside words and alone.
TEXTS = st.text("ab .-é", min_size=1, max_size=40)


@st.composite
def texts_with_frames(draw: st.DrawFn) -> tuple[str, list[ParsedFrame]]:
    text = draw(TEXTS)

    def string() -> str:
        start = draw(st.integers(0, len(text) - 1))
        part = text[start : start + draw(st.integers(1, 4))]
        return draw(st.sampled_from([part, part, part, "nowhere", ""]))

    def frame() -> ParsedFrame:
        schema_frame = draw(st.sampled_from(SCHEMA.frames))
        names = draw(st.lists(st.sampled_from([*schema_frame.slot_names, "unknown"]), max_size=3))
        slots = tuple(ParsedSlot(name, draw(st.sampled_from([None, string()]))) for name in names)
        name = draw(st.sampled_from([schema_frame.name] * 4 + ["unknown"]))
        return ParsedFrame(name, draw(st.sampled_from([None, string()])), slots)

    return text, [frame() for _ in range(draw(st.integers(0, 6)))]


@settings(max_examples=300, deadline=None)
@given(texts_with_frames())
def test_every_record_is_grounded_and_every_element_is_placed_or_dropped(
    drawn: tuple[str, list[ParsedFrame]],
) -> None:
    text, frames = drawn
    alignment = align(frames, text, SCHEMA)
    assert record_faults(alignment.records, text, SCHEMA) == []
    assert len(alignment.frames) == len(alignment.records)
    for record, frame in zip(alignment.records, alignment.frames, strict=True):
        assert record.frame == frame.frame
        assert (record.filler and record.filler.text) == frame.filler
        placed = [(filled.slot, filled.filler and filled.filler.text) for filled in record.slots]
        assert placed == [(slot.slot, slot.filler) for slot in frame.slots]
    whole_frames = len(frames) - len(alignment.records)
    lost_slots = Counter(drop.reason for drop in alignment.dropped if " of (" in drop.value)
    assert len(alignment.dropped) == whole_frames + lost_slots.total()


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.lists(st.tuples(st.integers(0, 39), st.integers(1, 4)), max_size=5))
def test_entities_with_distinct_strings_are_always_found(text: str, cuts: list[tuple[int, int]]) -> None:
    strings = {text[start : start + length] for start, length in cuts} - {""}
    alignment = align([entity("person", string) for string in strings], text, SCHEMA)
    assert {record.filler.text for record in alignment.records} == strings
    assert alignment.dropped == ()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from("ABx"), min_size=2, max_size=14))
def test_a_relation_takes_the_nearest_pair_of_all(words: list[str]) -> None:
    text = " ".join(words)
    starts = {word: [2 * index for index, other in enumerate(words) if other == word] for word in "AB"}
    pairs = [(abs(a - b), a, b) for a in starts["A"] for b in starts["B"]]
    placed = spans(align([lives("A", "B")], text, SCHEMA))
    assert placed == ([list(min(pairs)[1:])] if pairs else [])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from("ABx"), min_size=1, max_size=10), st.integers(1, 4))
def test_gold_entities_come_back_when_each_occurrence_is_one(words: list[str], length: int) -> None:
    text = " ".join(words)
    records = [
        Record(frame=frame, filler=Filler(text=word, start=2 * index, end=2 * index + 1))
        for index, word in enumerate(words)
        for word_of, frame in (("A", "person"), ("B", "place"))
        if word == word_of
    ]
    assert align(parse(linearize(records, SCHEMA)).frames, text, SCHEMA).records == tuple(records)


def test_three_predictions_of_a_name_that_occurs_twice() -> None:
    alignment = align([entity("person", "Ann")] * 3, "Ann met Ann", SCHEMA)
    assert spans(alignment) == [[0], [8]]
    assert [(drop.reason, drop.value) for drop in alignment.dropped] == [(TOO_OFTEN, "(person: Ann): []")]


def test_the_same_span_under_two_types() -> None:
    assert spans(align([entity("person", "Ann"), entity("place", "Ann")], "Ann met Ann", SCHEMA)) == [
        [0],
        [0],
    ]


def test_two_triggers_in_swapped_order() -> None:
    #       0         10        20
    text = "Al shot Bo. Cy shot Di."
    swapped = [
        attack("shot", ("Attacker", "Cy"), ("Victim", "Di")),
        attack("shot", ("Attacker", "Al"), ("Victim", "Bo")),
    ]
    # The triggers take their occurrences from the left, so both events are found, each with the other's
    # arguments: strings alone cannot tell which "shot" was meant.
    assert spans(align(swapped, text, SCHEMA)) == [[3, 12, 20], [15, 0, 8]]
    different = [attack("shot", ("Victim", "Bo")), attack("Al", ("Victim", "Di"))]
    assert spans(align(different, text, SCHEMA)) == [[3, 8], [0, 20]]


def test_an_argument_outside_the_text_costs_an_event_the_slot_but_a_relation_everything() -> None:
    text = "Al shot Bo in Rome"
    alignment = align(
        [attack("shot", ("Attacker", "Zed"), ("Victim", "Bo")), lives("Zed", "Rome"), lives("Bo", "Rome")],
        text,
        SCHEMA,
    )
    assert spans(alignment) == [[3, 8], [8, 14]]
    assert [(drop.reason, drop.value) for drop in alignment.dropped] == [
        (NOT_IN_TEXT, "(Attacker: Zed) of (Attack: shot)"),
        (NOT_IN_TEXT, "(lives in: Null): [(who: Zed), (where: Rome)]"),
    ]
    assert alignment.frames[0].slots == (ParsedSlot("Victim", "Bo"),)


def test_an_argument_stands_nearest_to_its_trigger_and_ties_go_left() -> None:
    text = "Bo x x x shot x Bo x Bo"  # 9 to the left, 7 to the right
    assert spans(align([attack("shot", ("Victim", "Bo"))], text, SCHEMA)) == [[9, 16]]
    text = "Bo x x shot x Bo"  # 7 either way
    assert spans(align([attack("shot", ("Victim", "Bo"))], text, SCHEMA)) == [[7, 0]]


def test_repeated_arguments_take_different_occurrences_until_none_is_left() -> None:
    alignment = align([attack("shot", *[("Victim", "Bo")] * 3)], "shot Bo, Bo", SCHEMA)
    assert spans(alignment) == [[0, 5, 9]]
    assert [drop.reason for drop in alignment.dropped] == [TOO_OFTEN]


def test_one_word_can_evoke_several_events_but_not_the_same_twice() -> None:
    events = [
        attack("shot", ("Victim", "Al")),
        attack("shot", ("Victim", "Bo")),
        attack("shot", ("Victim", "Bo")),
    ]
    alignment = align(events, "shot Al and Bo", SCHEMA)
    assert spans(alignment) == [[0, 5], [0, 12]]
    assert [drop.reason for drop in alignment.dropped] == [TOO_OFTEN]


def test_equal_relations_take_the_nearest_pairs_in_turn() -> None:
    text = "Al in Rome, so x x x x Al in Rome"
    assert spans(align([lives("Al", "Rome")] * 3, text, SCHEMA)) == [[0, 6], [23, 29]]


def test_equal_strings_in_one_relation_take_different_occurrences_if_they_can() -> None:
    assert spans(align([lives("Al", "Al")], "x Al x Al", SCHEMA)) == [[2, 7]]
    assert spans(align([lives("Al", "Al")], "x Al x", SCHEMA)) == [[2, 2]]


def test_three_slots_stand_around_the_most_frequent_string() -> None:
    slots = (ParsedSlot("a", "A"), ParsedSlot("b", "B"), ParsedSlot("c", "C"))
    #       0   4   8   12  16
    text = "A x x B x A x C x B"
    # Around B at 6: A at 10 (4), C at 14 (8) = 12; around B at 18: A 10 (8), C 14 (4) = 12; around A at
    # 10: B at 6 (4), C at 14 (4) = 8; A, the first of the most frequent ones, decides.
    assert spans(align([ParsedFrame("trio", None, slots)], text, SCHEMA)) == [[10, 6, 14]]
    repeated = (ParsedSlot("a", "A"), ParsedSlot("b", "B"), ParsedSlot("c", "B"))
    assert spans(align([ParsedFrame("trio", None, repeated)], "A A A B", SCHEMA)) == [[4, 6, 6]]


def test_whole_words_come_first_then_parts_of_words() -> None:
    text = "the other man, he said; he left"
    assert spans(align([entity("person", "he")] * 5, text, SCHEMA)) == [[15], [24], [1], [6]]
    assert spans(align([attack("said", ("Victim", "he"))], text, SCHEMA)) == [[18, 15]]
    assert spans(align([lives("he", "man")], text, SCHEMA)) == [[15, 10]]


def test_a_part_of_a_word_is_found_where_it_never_stands_alone() -> None:
    assert spans(align([entity("place", "Berlin")], "the Berliners", SCHEMA)) == [[4]]


@pytest.mark.parametrize("text", ["在北京大学，北京", "กินข้าวข้าว ข้าว", "서울에서 서울"])
def test_scripts_without_blanks_take_the_first_occurrence(text: str) -> None:
    string = {"在": "北京", "ก": "ข้าว", "서": "서울"}[text[0]]
    assert spans(align([entity("place", string)], text, SCHEMA)) == [[text.index(string)]]


def test_a_combining_accent_belongs_to_its_word() -> None:
    assert spans(align([entity("place", "cafe")], "cafe\u0301 or cafe", SCHEMA)) == [[9]]


def test_occurrences_do_not_overlap() -> None:
    assert spans(align([entity("person", "aa")] * 2, "aaa", SCHEMA)) == [[0]]
    assert spans(align([entity("person", "ha ha")] * 2, "ha ha ha ha", SCHEMA)) == [[0], [6]]


def test_names_outside_the_schema_are_dropped() -> None:
    frames = [ParsedFrame("robot", "Al"), ParsedFrame("person", "Al", (ParsedSlot("age", "9"),))]
    alignment = align(frames, "Al is 9", SCHEMA)
    assert spans(alignment) == [[0]]
    assert [(drop.reason, drop.value) for drop in alignment.dropped] == [
        (UNKNOWN_FRAME, "(robot: Al): []"),
        (UNKNOWN_SLOT, "(age: 9) of (person: Al)"),
    ]


def test_frames_without_any_text_stay() -> None:
    judged = ParsedFrame("Attack", None, (ParsedSlot("Victim", None),))
    expected = Record(frame="Attack", slots=[FilledSlot(slot="Victim")])
    assert align([judged], "x", SCHEMA).records == (expected,)


def test_an_empty_filler_is_nowhere() -> None:
    assert [drop.reason for drop in align([entity("person", "")], "x", SCHEMA).dropped] == [NOT_IN_TEXT]


def test_a_million_characters_with_frequent_strings_take_linear_time() -> None:
    frames = (
        [entity("person", "he")] * 100 + [lives("he", "Paris")] * 50 + [attack("went", ("Victim", "he"))] * 50
    )

    def seconds(num_characters: int) -> float:
        text, letters = "he went to Paris. " * (num_characters // 18), "a" * num_characters
        long = [entity("person", letters[: num_characters * 2 // 5])]
        assert len(align(frames, text, SCHEMA).records) == len(frames)
        assert len(align(long, letters, SCHEMA).records) == 1
        return process_seconds(lambda: (align(frames, text, SCHEMA), align(long, letters, SCHEMA)))

    # Ten times the length takes ten times as long; quadratic time would take a hundred times.
    assert seconds(1_000_000) < 30 * seconds(100_000)


@pytest.mark.parametrize(
    ("filler", "text"),
    [
        ("🇪🇫", "🇩🇪🇫🇷 🇪🇫"),
        ("👩", "👩‍🔬 👩"),
        ("Lon", "Lon\u00addon Lon"),
        ("کتاب", "کتاب‌ها کتاب"),
        ("e", "e\u0301 e"),
        ("a", "\u200ba"),
    ],
)
def test_what_stands_alone_goes_before_parts_of_characters_and_words(filler: str, text: str) -> None:
    [record] = align(parse(f"{{(x: {filler}): []}}").frames, text, Schema.of(["x"])).records
    assert record.filler is not None
    assert record.filler.span == (len(text) - len(filler), len(text))
