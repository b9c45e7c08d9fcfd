import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucuie.data.draft import entity
from ucuie.data.tokens import Spacing, join_tokens, respaced

TOKENS = st.lists(
    st.one_of(
        st.sampled_from(
            [*"()[]\"'`.,:;-/@#$%&+", "''", "``", "-LRB-", "'s", "n't", "amp", "10", "000", "s", ""]
        ),
        st.text(st.characters(exclude_categories=["Cs", "Zs", "Cc"]), min_size=1, max_size=5),
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("Hello , world ( again ) !", "Hello, world (again)!"),
        ("I do n't know Paul 's dog .", "I don't know Paul's dog."),
        ("I didn ' t know Kaposi ' s name", "I didn't know Kaposi's name"),
        ("the boys ' house", "the boys' house"),
        ("Kevin O 'Brien spoke", "Kevin O'Brien spoke"),
        ("10 , 088 or 2 . 5 at 9 : 30", "10,088 or 2.5 at 9:30"),
        ("1986 to 1998 , 29 patients", "1986 to 1998, 29 patients"),
        ('he said " yes " twice', 'he said "yes" twice'),
        ('5 " wide', '5 " wide'),
        ("he said `` yes '' twice", 'he said "yes" twice'),
        ("'' yes , '' he said", '"yes," he said'),
        ("both -LRB- in Playboy -RRB- .", "both (in Playboy)."),
        ("war &ndash; peace", "war – peace"),
        ("EAST & amp ; WEST", "EAST & WEST"),
        ("@ colgo #hey $ 5", "@colgo #hey $5"),
        ("a well - known case", "a well - known case"),
    ],
)
def test_natural_spacing_undoes_the_tokenizer(tokens: str, text: str) -> None:
    assert join_tokens(tokens.split(" ")).text == text


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("a well - known case", "a well-known case"),
        ("15 + / - 5 mg / kg", "15 +/- 5 mg/kg"),
        ("sgk1 ( - / - ) mice", "sgk1 (-/-) mice"),
        ("that PU . 1 binds .", "that PU.1 binds."),
        ("war – peace", "war – peace"),
    ],
)
def test_tight_spacing_joins_hyphens_and_slashes(tokens: str, text: str) -> None:
    assert join_tokens(tokens.split(" "), "tight").text == text


@given(TOKENS, st.sampled_from(["natural", "tight", "blank", "none"]))
def test_tokens_keep_their_order_and_cover_the_text(tokens: list[str], spacing: Spacing) -> None:
    joined = join_tokens(tokens, spacing)
    assert len(joined.spans) == len(tokens)
    end_of_last = 0
    for start, end in joined.spans:
        assert joined.text[end_of_last:start] in ("", " ")
        assert start <= end
        end_of_last = end
    assert joined.text[end_of_last:] == ""


@given(TOKENS)
def test_blank_spacing_restores_nothing(tokens: list[str]) -> None:
    joined = join_tokens(tokens, "blank")
    assert [joined.text[slice(*span)] for span in joined.spans] == [token.strip() for token in tokens]


@given(TOKENS.filter(lambda tokens: any(tokens)), st.data())
def test_respacing_moves_records_with_their_tokens(tokens: list[str], data: st.DataObject) -> None:
    text = " ".join(tokens)
    joined = join_tokens(tokens)
    index = data.draw(
        st.sampled_from([index for index, (start, end) in enumerate(joined.spans) if start < end])
    )
    start = sum(len(token) + 1 for token in tokens[:index])
    record = entity("x", text, (start, start + len(tokens[index])))
    new_text, (moved,) = respaced(text, [record], "natural")
    assert new_text == joined.text
    assert moved.filler is not None
    assert moved.filler.span == joined.spans[index]


def test_a_range_of_no_tokens_is_refused() -> None:
    joined = join_tokens(["a", ""])
    assert joined.span(0, 2) == (0, 1)
    for start, end in ((0, 0), (0, 3), (-1, 1), (1, 2)):
        with pytest.raises(ValueError, match="tokens"):
            joined.span(start, end)
