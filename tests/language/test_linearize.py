from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from timing import process_seconds
from ucuie.language.linearize import (
    NULL,
    ParsedFrame,
    ParsedSlot,
    escape_filler,
    escape_name,
    linearize,
    order_records,
    parse,
    unescape_filler,
    unescape_name,
    without_offsets,
)
from ucuie.schema import FilledSlot, Filler, Frame, Record, Schema, Slot

# Every code point that can be encoded, with the delimiters of the language far more often than by chance.
ANY_TEXT = st.text(
    st.one_of(st.sampled_from("():[]{}\\, \nNul"), st.characters(exclude_categories=["Cs"])), max_size=12
)
NAME_TEXT = ANY_TEXT.map(str.strip).filter(bool)
FILLER_TEXT = st.one_of(st.sampled_from([NULL, "\\Null", "\\", ")", " Null"]), ANY_TEXT.filter(bool))


@st.composite
def fillers(draw: st.DrawFn) -> Filler:
    text, start = draw(FILLER_TEXT), draw(st.integers(0, 30))
    return Filler(text=text, start=start, end=start + len(text))


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    def slots() -> list[Slot]:
        names = draw(st.lists(NAME_TEXT, max_size=3, unique=True))
        return [Slot(name=name, required=draw(st.booleans())) for name in names]

    names = draw(st.lists(NAME_TEXT, min_size=1, max_size=3, unique=True))
    return Schema(frames=[Frame(name=name, slots=slots()) for name in names])


@st.composite
def records_with_schema(draw: st.DrawFn) -> tuple[list[Record], Schema]:
    schema = draw(schemas())

    def record() -> Record:
        frame = draw(st.sampled_from(schema.frames))
        names = draw(st.lists(st.sampled_from(frame.slot_names), max_size=4)) if frame.slots else []
        slots = [FilledSlot(slot=name, filler=draw(st.none() | fillers())) for name in names]
        return Record(frame=frame.name, filler=draw(st.none() | fillers()), slots=slots)

    return [record() for _ in range(draw(st.integers(0, 4)))], schema


def with_required_slots(record: Record, schema: Schema) -> Record:
    missing = [
        FilledSlot(slot=slot.name)
        for slot in schema[record.frame].slots
        if slot.required and slot.name not in [filled.slot for filled in record.slots]
    ]
    return record.model_copy(update={"slots": (*record.slots, *missing)})


@settings(max_examples=500, deadline=None)
@given(records_with_schema())
def test_parsing_gives_back_what_was_linearized(drawn: tuple[list[Record], Schema]) -> None:
    records, schema = drawn
    parsed = parse(linearize(records, schema))
    expected = order_records([with_required_slots(record, schema) for record in records], schema)
    assert parsed.frames == tuple(map(without_offsets, expected))
    assert parsed.dropped == ()


@settings(max_examples=200, deadline=None)
@given(records_with_schema())
def test_ranges_lead_back_to_names_and_fillers(drawn: tuple[list[Record], Schema]) -> None:
    output = linearize(*drawn)
    for frame in parse(output).frames:
        assert_ranges(frame.frame, frame, output)
        for slot in frame.slots:
            assert_ranges(slot.slot, slot, output)


def assert_ranges(name: str, element: ParsedFrame | ParsedSlot, output: str) -> None:
    assert unescape_name(output[slice(*element.name_range)]) == name
    written = output[slice(*element.filler_range)]
    assert (None if written == NULL else unescape_filler(written)) == element.filler


@settings(max_examples=200, deadline=None)
@given(records_with_schema(), st.data())
def test_a_cut_output_keeps_every_complete_frame_and_names_the_rest(
    drawn: tuple[list[Record], Schema], data: st.DataObject
) -> None:
    output = linearize(*drawn)
    frames = parse(output).frames
    length = data.draw(st.integers(0, len(output)))
    cut = parse(output[:length])
    assert cut.frames == frames[: len(cut.frames)]
    complete = [frame for frame in frames if _end(frame) <= length]
    assert len(cut.frames) == len(complete)
    begun = sum(frame.name_range[0] <= length for frame in frames)
    assert len(cut.dropped) == begun - len(complete)


def _end(frame: ParsedFrame) -> int:
    last, rest = (frame.slots[-1], ")]") if frame.slots else (frame, "): []")
    return last.filler_range[1] + len(rest)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.text("(){}[]:,\\ aN", max_size=60))
@example("(")
@example("{(a: b): [(c: d")
@example("\\")
def test_parsing_never_raises_and_never_invents(output: str) -> None:
    parsed = parse(output)
    for frame in parsed.frames:
        assert_ranges(frame.frame, frame, output)
        for slot in frame.slots:
            assert_ranges(slot.slot, slot, output)
    for dropped in parsed.dropped:
        assert dropped.reason
        assert dropped.value in output


@settings(max_examples=300)
@given(ANY_TEXT)
def test_escaping_is_reversible(text: str) -> None:
    assert unescape_filler(escape_filler(text)) == text
    assert unescape_name(escape_name(text)) == text
    assert escape_filler(text) != NULL


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("Null", "\\Null"),
        ("\\Null", "\\\\Null"),
        ("Nullable", "Nullable"),
        ("f(x)", "f(x\\)"),
        ("C:\\x", "C:\\\\x"),
        ("a: b", "a: b"),
    ],
)
def test_fillers_escape_only_what_ends_them(text: str, escaped: str) -> None:
    assert escape_filler(text) == escaped


def test_names_escape_what_ends_them_too() -> None:
    assert escape_name("Life: born (in)\\") == "Life\\: born (in\\)\\\\"


def test_a_backslash_that_escapes_nothing_stands_for_itself() -> None:
    assert unescape_filler("\\N \\d \\Nullable") == "\\N \\d \\Nullable"


def filler(text: str, start: int) -> Filler:
    return Filler(text=text, start=start, end=start + len(text))


EVENTS = Schema.of({"Speech": ["Speaker", "Place"], "born in": ["subject", "object"], "person": []})


def test_the_output_of_the_design_page() -> None:
    records = [
        Record(frame="person", filler=filler("Angela Merkel", 40)),
        Record(
            frame="Speech",
            filler=filler("delivered", 13),
            slots=[
                FilledSlot(slot="Place", filler=filler("Berlin", 30)),
                FilledSlot(slot="Speaker", filler=filler("Michelle", 14)),
                FilledSlot(slot="Speaker", filler=filler("Barack Obama", 0)),
            ],
        ),
    ]
    assert linearize(records, EVENTS) == (
        "{(Speech: delivered): [(Speaker: Barack Obama), (Speaker: Michelle), (Place: Berlin)], "
        "(person: Angela Merkel): []}"
    )
    assert linearize([], EVENTS) == "{}"


def test_frames_stand_by_first_span_then_schema_then_as_given() -> None:
    relation = Record(frame="born in", slots=[FilledSlot(slot="object", filler=filler("Berlin", 3))])
    speech = Record(frame="Speech", filler=filler("spoke", 3))
    early = Record(frame="Speech", slots=[FilledSlot(slot="Place", filler=filler("a", 0))])
    twin = Record(frame="Speech", filler=filler("spoke in", 3))
    judged = Record(frame="Speech")
    assert order_records([judged, relation, twin, speech, early], EVENTS) == (
        early,
        twin,
        speech,
        relation,
        judged,
    )


def test_a_required_slot_without_filler_is_written_as_null() -> None:
    schema = Schema.of(
        {"frames": [{"name": "f", "slots": [{"name": "a"}, {"name": "b", "required": True}, {"name": "c"}]}]}
    )
    record = Record(frame="f", slots=[FilledSlot(slot="c", filler=filler("x", 0))])
    assert linearize([record], schema) == "{(f: Null): [(b: Null), (c: x)]}"


def test_names_outside_the_schema_are_refused() -> None:
    with pytest.raises(KeyError):
        linearize([Record(frame="unknown")], EVENTS)
    with pytest.raises(KeyError):
        linearize([Record(frame="person", slots=[FilledSlot(slot="unknown")])], EVENTS)


A = ParsedFrame("A", "x")
B = ParsedFrame("B", "y", (ParsedSlot("s", None),))


@pytest.mark.parametrize(
    ("output", "frames", "dropped"),
    [
        ("", [], []),
        ("{}", [], []),
        ("  {  }  ", [], []),
        ("{(A: x): [], (B: y): [(s: Null)]}", [A, B], []),
        ("{(A: x): [] (B: y): [(s: Null),],,}", [A, B], []),
        ("(A:x):[]", [A], []),
        ("{(A: x): [], (B: y): [(s: Nu", [A], ["(B: y): [(s: Nu"]),
        ("{(A: x): [], (B", [A], ["(B"]),
        ("{(A: x): [], (B: y)", [A], ["(B: y)"]),
        ("{(A: x): [], (B: y): [", [A], ["(B: y): ["]),
        ("{(A: x): [], (B: y\\", [A], ["(B: y\\"]),
        ("{(B: y): [(s: z), (A: x): []}", [A], ["(B: y): [(s: z),"]),
        ("{(B: y) [(s: z)], (A: x): []}", [A], ["(B: y) [", "(s: z)],"]),
        ("{(B), (A: x): []}", [A], ["(B),"]),
        ("{nothing here, (A: x): []}", [A], ["nothing here,"]),
        ("Here it is:\n{(A: x): []}\n\nText: {(B: y): []}", [A], ["Here it is:\n{", "Text: {(B: y): []}"]),
    ],
)
def test_malformed_outputs_keep_their_complete_frames(
    output: str, frames: list[ParsedFrame], dropped: list[str]
) -> None:
    parsed = parse(output)
    assert list(parsed.frames) == frames
    assert [drop.value for drop in parsed.dropped] == dropped


@pytest.mark.parametrize(
    "unit", ["(", "(a", "(a:", "(a: b)", "(a: b): [", "(a: b): [(c: d)", "(a: b): [x", "\\", " ", "(a)", ","]
)
def test_time_is_linear_in_the_output(unit: str) -> None:
    def seconds(length: int) -> float:
        return process_seconds(partial(parse, "{" + unit * (length // len(unit))))

    # Ten times the length takes ten times as long; quadratic time would take a hundred times (and minutes).
    assert seconds(100_000) < 30 * seconds(10_000)
