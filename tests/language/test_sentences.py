"""Borders of sentences: abbreviations, decimals, scripts without blanks, lists; and graphemes stay whole."""

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from timing import process_seconds
from ucuie.language.windows import Border, inner_border, is_grapheme_end, sentence_ends

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
FLAG = "\U0001f1e9\U0001f1ea"
TEXTS = st.text(
    st.sampled_from(
        [*"aB1 .,!?\n\r\t)。，我の", "\u0301", "\u200d", "\ufe0f", "\U0001f468", "\U0001f1e9", "ก", "م"]
    ),
    max_size=40,
)


def sentences(text: str) -> list[str]:
    ends = list(sentence_ends(text))
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def grapheme_ends(text: str) -> set[int]:
    return {match.end() for match in regex.finditer(r"\X", text)}


@pytest.mark.parametrize(
    "parts",
    [
        ["Ada left. ", "She came back."],
        ['He said: "No!" ', "Then he left."],
        ["Dr. J. Smith of the U.S. Army met Mr. Li. ", "See Fig. 3."],
        ["It costs 3.14 dollars, e.g. in Turin. ", "Yes."],
        ["Yahoo! is a company; what? nothing."],
        ["What?! ", "No..."],
        ["我爱北京。", "天安门！", "“真的？”", "他说。"],
        ["नमस्ते। ", "दुनिया"],
        ["مرحبا؟ ", "نعم."],
        ["a heading\n\n", "a paragraph that\nis wrapped"],
        ["to buy:\n", "- milk\n", "- 2 eggs\n", "1. first"],
        ["no end"],
        ["end. \n"],
        [],
    ],
)
def test_sentences_end_where_a_reader_sees_it(parts: list[str]) -> None:
    assert sentences("".join(parts)) == parts


@given(TEXTS)
def test_sentences_make_up_the_text_and_cut_no_grapheme(text: str) -> None:
    ends = list(sentence_ends(text))
    assert "".join(sentences(text)) == text
    assert ends == sorted(set(ends))
    assert set(ends) <= grapheme_ends(text)


@given(TEXTS.filter(bool), st.data())
def test_a_place_is_never_said_to_be_whole_where_a_grapheme_is_cut(text: str, data: st.DataObject) -> None:
    position = data.draw(st.integers(1, len(text)))
    if is_grapheme_end(text, position):
        assert position in grapheme_ends(text)


@pytest.mark.parametrize(
    ("text", "high", "divided", "border"),
    [
        ("one two, three four", 18, "one two, three ", Border.BLANK),
        ("one two three, four five", 22, "one two three, ", Border.CLAUSE),
        ("http://a.org/some/where", 20, "http://a.org/some/", Border.WORD),
        ("我爱北京天安门上太阳升", 9, "我爱北京天安门上太", Border.WORD),
        ("abcdefghijkl", 10, "abcdefghij", Border.GRAPHEME),
        (FAMILY * 3, 14, FAMILY * 2, Border.WORD),
        (FLAG * 3, 5, FLAG * 2, Border.GRAPHEME),
        ("e" + "\u0301" * 20, 11, "e" + "\u0301" * 10, Border.GRAPHEME_PART),
    ],
)
def test_a_long_sentence_is_divided_at_the_best_place(
    text: str, high: int, divided: str, border: Border
) -> None:
    assert inner_border(text, 0, high) == (border, len(divided))


@given(TEXTS.filter(bool), st.data())
def test_a_divided_sentence_keeps_its_graphemes(text: str, data: st.DataObject) -> None:
    high = data.draw(st.integers(1, len(text)))
    border, position = inner_border(text, 0, high)
    assert 0 < position <= high
    assert (position in grapheme_ends(text)) or border == Border.GRAPHEME_PART
    assert (border == Border.GRAPHEME_PART) == (not any(end <= high for end in grapheme_ends(text)))


@pytest.mark.parametrize(
    "unit", [".", ". ", "\n", " ", "!a", "a", "\u0301", "我。", FLAG, ".)", "\n \n-"], ids=repr
)
def test_hostile_runs_take_linear_time(unit: str) -> None:
    def seconds(num_characters: int) -> float:
        text = unit * (num_characters // len(unit))
        assert sum(1 for _ in sentence_ends(text)) >= 1
        return process_seconds(lambda: list(sentence_ends(text)))

    # Ten times the text; a quadratic run would take a hundred times as long, and minutes.
    assert seconds(200_000) < 30 * seconds(20_000)
