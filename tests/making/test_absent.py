"""Which types may be asked for of a text that was not annotated for them."""

import pytest
import yaml

from making.absent import FAMILIES, has_other_names, may_be_asked, may_mean_the_same, stem, stems


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("film", "movie"),
        ("organization", "company"),
        ("organisation", "organization"),
        ("cell line", "cell type"),
        ("place", "river"),
        ("researcher", "person"),
        ("libraryFunction", "function"),
        ("say", "statement"),
        ("attacking", "attack"),
        ("born in", "residence"),
        ("name", "disease"),  # a name without a word that says anything is like all others
    ],
)
def test_what_may_be_a_synonym_or_a_kind_of_a_type_is_never_its_negative(first: str, second: str) -> None:
    assert may_mean_the_same(first, second)
    assert may_mean_the_same(second, first)
    assert not may_be_asked(first, [second], "A text.")


@pytest.mark.parametrize(
    ("first", "second"),
    [("protein", "person"), ("cell line", "organization"), ("playlist", "disease"), ("ship", "gene")],
)
def test_types_of_different_fields_are_told_apart(first: str, second: str) -> None:
    assert not may_mean_the_same(first, second)


def test_a_type_whose_word_stands_in_the_text_is_not_asked_for() -> None:
    assert not may_be_asked("protein", ["person"], "Proteins are good for you, said Ada.")
    assert may_be_asked("protein", ["person"], "Vegetables are good for you, said Ada.")


def test_endings_do_not_tell_words_apart() -> None:
    assert stem("stating") == stem("states") == stem("statement")
    assert stems("kinds of proteins") == stems("protein") == {"protein"}


def test_a_family_has_more_than_one_word() -> None:
    for family in yaml.safe_load(FAMILIES.read_text("utf-8")):
        assert len(stems(family)) > 1, family


def test_names_that_nobody_gave_a_type_are_seen() -> None:
    text = "Eccles was selected in Minsk. He won."
    assert has_other_names(text, ())
    assert has_other_names(text, ((0, 6),))
    assert not has_other_names(text, ((23, 28),))
    assert not has_other_names("Nobody was selected. He won.", ())
