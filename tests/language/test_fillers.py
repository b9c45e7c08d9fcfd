"""No filler begins or ends within a character or with one that shows nothing, whatever the script."""

import time
from itertools import combinations

import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_gbnf import matcher_of

from decode_cases import byte_level, schemas
from ucuie.language.grammar import build_gbnf, build_grammar, chunk_text
from ucuie.language.linearize import escape_filler
from ucuie.schema import Schema

HIDDEN = [*"\u200b\u00ad\u200e\u200f\u2060\u2066\u2069\u202e\ufeff\u180e\u061c\u3164\u2800\ufff9\x00\x1b\x7f"]
BLANKS = [*" \n\t\r\u00a0\u2028\u3000\x1c"]
ATTACHED = [*"\u200c\u200d\ufe0f\u034f\U000e0067\U000e007f"]
WHOLE = [
    *("Ada", "New", "3mg", "é", "e\u0301", "n\u0303", "ß", "İ"),
    *("🇩🇪", "🇫🇷🇪🇸", "👩‍🔬", "👨‍👩‍👧", "👍🏽", "❤️", "🏴\U000e0067\U000e0062\U000e007f", "1️⃣", "🙂"),
    *("क्‍ष", "हिन्दी", "বাংলা", "தமிழ்", "සිංහල", "ไทยก็", "မြန်မာ", "ខ្មែរ", "می‌خواهم", "کتاب‌ها", "שָׁלוֹם", "سَلام"),
    *(
        "中国",
        "日本語がー",
        "한국",
        "\u1112\u1161\u11ab",
        "\u0600",
        "ᠴᠢᠨ\u180eᠠ",
        "አማርኛ",
        "Null",
        ")",
        "\\",
        ".",
    ),
]
TEXTS = (
    st.lists(st.sampled_from(WHOLE + HIDDEN + BLANKS + ATTACHED), min_size=1, max_size=6)
    .map("".join)
    .filter(lambda text: bool(text.strip()) and len(text) < 16)
)
X = Schema.of(["x"])


def accepted(text: str) -> set[str]:
    """All pieces of the text that the grammar takes as a filler; both notations take the same."""
    language, gbnf = byte_level(), matcher_of(build_gbnf(X, text))
    first = language.grammars.start(build_grammar(X, text, "NER"))
    found = set()
    for start, end in combinations(range(len(text) + 1), 2):
        output = f"{{(x: {escape_filler(text[start:end])}): []}}"
        state, matcher, written = first.copy(), gbnf.deep_copy(), output.encode()
        is_taken = all(
            state.allows(token) and not state.consume([token]) for token in language.encode(output)
        )
        is_taken = is_taken and state.is_stopped
        is_gbnf = matcher.try_consume_tokens(list(written)) == len(written) and matcher.is_accepting()
        assert is_taken == is_gbnf, text[start:end]
        if is_taken:
            found.add(text[start:end])
    return found


def shows(characters: str) -> bool:
    return not set(characters) <= {*HIDDEN, *BLANKS, *ATTACHED}


@settings(max_examples=40)
@given(text=TEXTS)
@example(text="New\u200bYork")
@example(text="a🇩🇪🇫🇷")
@example(text="\u200b\ufe0f")
@example(text="❤️\u200b\ufe0f")
def test_fillers_are_whole_and_show_themselves(text: str) -> None:
    characters = regex.findall(r"\X", text)
    runs = {tuple(characters[i:j]) for i, j in combinations(range(len(characters) + 1), 2)}
    whole = {"".join(run) for run in runs if shows(run[0][0]) and shows(run[-1])}
    found = accepted(text)
    assert found <= whole
    words = {word for word in text.split() if "".join(filter(shows, word)) == word}
    assert words <= found


@settings(max_examples=40)
@given(schema=schemas(), text=TEXTS)
def test_every_text_has_a_grammar(schema: Schema, text: str) -> None:
    state = byte_level().grammars.start(build_grammar(schema, text, "EE"))
    state.consume(byte_level().encode("{}"))
    assert state.is_stopped
    assert matcher_of(build_gbnf(schema, text)).try_consume_tokens(list(b"{}")) == 2


@pytest.mark.parametrize(
    ("text", "chunks"),
    [
        ("Lon\u00addon", ["Lon\u00addon"]),
        ("New\u200bYork", ["New", "\u200b", "York"]),
        ("\u2060Erik\u00ad", ["\u2060", "Erik", "\u00ad"]),
        ("کتاب‌ها را", ["کتاب‌ها", " ", "را"]),
        ("क्‍ष में", ["क्‍ष", " ", "में"]),
        ("🇩🇪🇫🇷🇪", ["🇩🇪", "🇫🇷", "🇪"]),
        ("👧👩‍🔬", ["👧", "👩‍🔬"]),
        ("မြန်မာ", ["မြ", "န်", "မာ"]),
    ],
)
def test_chunks_are_cut_between_characters(text: str, chunks: list[str]) -> None:
    assert chunk_text(text, "words") == chunks


@pytest.mark.parametrize("piece", ["🇩🇪", "é", "a\u00ad", "👩‍🔬", "क्‍", "\u200d", "a\u200b ", "\u0301"])
def test_chunking_takes_linear_time(piece: str) -> None:
    start = time.process_time()
    chunk_text(f"é {piece * 30_000}", "words")
    assert time.process_time() - start < 2
