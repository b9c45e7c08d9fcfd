"""The grammar in GBNF, as llguidance reads it: the language of `linearize`, with fillers from the text."""

import random

import llguidance
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ucuie.language.grammar import build_gbnf, chunk_text
from ucuie.language.linearize import escape_filler, linearize, parse
from ucuie.schema import FilledSlot, Filler, Record, Schema

TOKENIZER = llguidance.LLTokenizer("byte")
SCHEMA = Schema.of(
    {"person": [], 'quo"te\\ )x: é': [], "work for": ["subject", "object"], "Ω": {"slots": ["all"]}}
)
PARTS = [*'ab1 )\\"\n\t\x7f:=|é日😀', "Null", " Null ", "e\N{COMBINING ACUTE ACCENT}", "\N{SNOWMAN}"]
BLANK = " \n\t\x7f"
TEXTS = st.lists(st.sampled_from(PARTS), max_size=20).map("".join).filter(str.strip)


def matcher_of(grammar: str) -> llguidance.LLMatcher:
    matcher = llguidance.LLMatcher(TOKENIZER, llguidance.grammar_from("gbnf", grammar))
    assert not matcher.is_error(), matcher.get_error()
    return matcher


def accepts(grammar: str, output: str) -> bool:
    matcher = matcher_of(grammar)
    return (
        matcher.try_consume_tokens(list(output.encode())) == len(output.encode()) and matcher.is_accepting()
    )


def pieces(text: str) -> set[str]:
    """The slow, obvious way: all runs of chunks that begin and end with something that shows."""
    chunks = chunk_text(text, "words")
    runs = ("".join(chunks[i:j]) for i in range(len(chunks)) for j in range(i + 1, len(chunks) + 1))
    return {run for run in runs if run.strip(BLANK) == run}


@settings(max_examples=60)
@given(TEXTS)
def test_fillers_are_the_pieces_of_the_text(text: str) -> None:
    grammar = build_gbnf(Schema.of(["x"]), text)
    for piece in pieces(text):
        assert accepts(grammar, f"{{(x: {escape_filler(piece)}): []}}"), piece
    for other in ("Null", "zz", text + "zz", " ", f" {text.strip()}", f"{text.strip()} "):
        assert not accepts(grammar, f"{{(x: {other}): []}}")


@settings(max_examples=40)
@given(TEXTS, st.integers(0, 2**32))
def test_whatever_it_accepts_parses_and_is_grounded(text: str, seed: int) -> None:
    generator = random.Random(seed)
    matcher = matcher_of(build_gbnf(SCHEMA, text))
    written = []
    while not matcher.is_stopped() and len(written) < 300:
        mask = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
        allowed = [int(token) for token in np.flatnonzero(mask) if token < 256]
        if not allowed:
            break
        token = generator.choice(allowed)
        matcher.consume_token(token)
        written.append(token)
    parsed = parse(bytes(written).decode(errors="ignore"))
    if matcher.is_accepting():
        assert not parsed.dropped
    possible = pieces(text)
    for frame in parsed.frames:
        assert frame.frame in SCHEMA
        assert frame.filler is None or frame.filler in possible
        assert {slot.slot for slot in frame.slots} <= set(SCHEMA[frame.frame].slot_names)
        assert all(slot.filler in possible for slot in frame.slots)


@pytest.mark.parametrize("evoked", [False, True])
def test_linearised_records_are_accepted(*, evoked: bool) -> None:
    text = 'Null works (at) the "Null" set\\unit'
    spans = {piece: text.index(piece) for piece in ("Null", "(at)", 'the "Null"', "set\\unit")}
    fillers = [Filler(text=piece, start=start, end=start + len(piece)) for piece, start in spans.items()]
    slots = tuple(
        FilledSlot(slot=name, filler=filler) for filler in fillers for name in ("subject", "object")
    )
    records = [Record(frame="work for", filler=fillers[0] if evoked else None, slots=slots)]
    records += [Record(frame='quo"te\\ )x: é', filler=filler) for filler in fillers]
    assert accepts(build_gbnf(SCHEMA, text), linearize(records, SCHEMA))
    assert accepts(build_gbnf(SCHEMA, text), "{}")


def test_a_required_slot_may_be_null() -> None:
    schema = Schema.of({"buy": {"slots": {"buyer": {"required": True}, "goods": ""}}})
    grammar = build_gbnf(schema, "Ada bought it")
    assert accepts(grammar, "{(buy: bought): [(buyer: Null)]}")
    assert not accepts(grammar, "{(buy: bought): [(goods: Null)]}")


def test_the_rules_of_a_text_grow_no_faster_than_twice_its_chunks() -> None:
    text = "the cat saw the dog and the dog saw the cat " * 20
    assert build_gbnf(SCHEMA, text).count("::=") <= 2 * len(chunk_text(text, "words")) + 20
