"""Windows hold the whole text, keep to their size, and divide only what does not fit."""

import itertools
import re

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from ucuie.language.windows import sentence_ends, split_windows

PIECES = [
    "a",
    "bc ",
    "word ",
    "Ada lived. ",
    "No! ",
    ", ",
    "\n",
    "\n\n",
    "。",
    "我",
    " " * 9,
    "🙂",
    "é" * 5,
    "x" * 12,
]
TEXTS = st.lists(st.sampled_from([*PIECES, "\u0301", "\u200d", "\U0001f468"]), max_size=40).map("".join)
SIZES = st.integers(1, 40)
PROSE = "Ada Lovelace lived in London. She met Charles Babbage there, and they wrote letters. "


def byte_starts(text: str) -> list[int]:
    """A token for every byte, as the smallest byte-level tokenizer has."""
    return [index for index, character in enumerate(text) for _ in character.encode()]


def num_bytes(text: str) -> int:
    return len(text.encode())


@given(TEXTS, SIZES)
def test_windows_hold_the_text_and_keep_to_their_size(text: str, size: int) -> None:
    windows = list(split_windows(text, byte_starts, size))
    covered = 0
    for start, end in windows:
        assert 0 <= start < end <= len(text)
        assert not text[covered:start].strip()
        assert num_bytes(text[start:end]) <= size or end - start == 1
        assert text[start:end].strip()
        covered = end
    assert not text[covered:].strip()
    for column in zip(*windows, strict=True):
        assert list(column) == sorted(set(column))


@given(TEXTS, SIZES)
def test_what_fits_is_not_divided(text: str, size: int) -> None:
    borders = {border for window in split_windows(text, byte_starts, size) for border in window}
    ends = list(sentence_ends(text))
    units = [(start, end) for start, end in zip([0, *ends], ends, strict=False)]
    units += [match.span() for match in regex.finditer(r"\X", text)]
    # A mark on a blank has no letter of its own, and may hold on to the word behind it.
    word = "(?<![A-Za-zé\u0301\u200d])[A-Za-zé][A-Za-zé\u0301\u200d]*"
    units += [match.span() for match in re.finditer(word, text)]
    for start, end in units:
        unit = text[start:end]
        if num_bytes(unit) <= size:
            first, last = end - len(unit.lstrip()), start + len(unit.rstrip())
            assert not borders.intersection(range(first + 1, last))


@given(TEXTS, SIZES)
def test_a_text_that_fits_is_one_window_as_it_stands(text: str, size: int) -> None:
    windows = list(split_windows(text, byte_starts, size))
    if num_bytes(text) <= size:
        assert windows == ([(0, len(text))] if text.strip() else [])


def test_windows_of_sentences_share_two_of_them() -> None:
    text = "".join(f"Sentence {number:02}. " for number in range(20))
    windows = [text[start:end] for start, end in split_windows(text, byte_starts, 13 * 7)]
    assert windows[0] == text[: 13 * 7 - 1]
    assert windows[1].startswith("Sentence 05. Sentence 06. Sentence 07.")
    assert windows[-1].endswith("Sentence 19.")


def test_a_long_sentence_gives_way_to_overlap_within_it() -> None:
    text = " ".join(f"word{number:03}" for number in range(100))
    windows = list(split_windows(text, byte_starts, 80))
    overlaps = [before[1] - after[0] for before, after in itertools.pairwise(windows)]
    assert all(80 // 8 <= overlap <= 80 // 4 for overlap in overlaps)
    assert all(text[start:end].startswith("word") and text[end - 1].isdigit() for start, end in windows)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 300_000, "\n" * 300_000, "\0" * 300_000, "我" * 300_000, "👨‍👩‍👧" * 60_000, "🇩🇪" * 150_000,
        "e" + "\u0301" * 300_000, ". " * 150_000, "مرحبا بالعالم " * 20_000, PROSE * 3_600,
    ],
    ids=["word", "newlines", "nul", "cjk", "family", "flags", "accents", "stops", "arabic", "prose"],
)  # fmt: skip
def test_long_texts_of_every_kind_are_read_block_by_block(text: str) -> None:
    num_read = 0

    def counted(block: str) -> list[int]:
        nonlocal num_read
        num_read += len(block)
        return byte_starts(block)

    windows = split_windows(text, counted, 500)
    first = next(windows, None)
    if first is not None:
        assert num_read < 20_000
    covered = 0 if first is None else first[1]
    for start, end in windows:
        assert not text[covered:start].strip()
        assert num_bytes(text[start:end]) <= 500
        covered = end
    assert not text[covered:].strip()
    assert num_read <= len(text)
