"""The HTML report: the text stays the text, spans nest, nothing is executed."""

import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from ucuie.extract.result import Extraction, marked_pieces, render_report
from ucuie.schema import Dropped, Explanation, FilledSlot, Filler, Record

TEXT = "She spoke at the University of Cologne & <script>alert(1)</script>."


def filler(start: int, end: int, text: str = TEXT) -> Filler:
    return Filler(text=text[start:end], start=start, end=end, score=0.5)


def mention(name: str, start: int, end: int, text: str = TEXT) -> Record:
    return Record(frame=name, filler=filler(start, end, text), score=0.5)


def extraction(*records: Record, text: str = TEXT, **fields: object) -> Extraction:
    return Extraction(id="1", text=text, records=records, model="tiny", seconds=0.1, **fields)


class Page(HTMLParser):
    """The structure of a page: its elements in order, the text of each, and whether they are closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.starts: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[tuple[str, str | None]] = []
        self.shown = ""
        self.tags = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.starts.append((tag, dict(attributes)))
        if tag != "meta":
            self.open.append((tag, dict(attributes).get("class")))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if ("span", "tag") in self.open:
            self.tags += f"[{data}]"
        elif ("p", "text") in self.open:
            self.shown += data


def test_a_text_is_shown_as_it_stands_with_nested_marks() -> None:
    page = Page(render_report([extraction(mention("organisation", 17, 38), mention("city", 31, 38))]))
    assert page.shown == TEXT
    assert page.tags == "[city][organisation]"
    assert not page.open


def test_what_crosses_the_end_of_another_span_is_cut_there() -> None:
    pieces = list(marked_pieces("abcdef", [mention("x", 0, 4, "abcdef"), mention("y", 2, 6, "abcdef")]))
    marks = [
        (piece.mark.start, piece.mark.end, piece.mark.is_continued)
        for piece in pieces
        if piece.kind == "open" and piece.mark
    ]
    assert marks == [(0, 4, False), (2, 4, False), (4, 6, True)]


spans = st.tuples(st.integers(0, 20), st.integers(1, 8)).map(
    lambda pair: (pair[0], min(pair[0] + pair[1], 24))
)


@given(st.lists(spans, max_size=8))
def test_any_spans_keep_the_text_and_nest(chosen: list[tuple[int, int]]) -> None:
    text = "abcdefgh <&> ijklmnop \n)"
    records = [mention("frame", start, end, text) for start, end in chosen if text[start:end]]
    pieces = list(marked_pieces(text, records))
    assert "".join(piece.text for piece in pieces) == text
    depth = []
    for piece in pieces:
        if piece.kind == "open":
            depth.append(piece.mark)
        elif piece.kind == "close":
            assert depth.pop() == piece.mark
    assert not depth
    assert Page(render_report([extraction(*records, text=text)])).shown == text


def test_everything_that_comes_from_outside_is_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>\"'"
    record = Record(frame=evil, slots=(FilledSlot(slot=evil, filler=filler(41, 66)),))
    dropped = (Dropped(reason=evil, value=evil),)
    html = render_report(
        [Extraction(id=evil, text=TEXT, records=(record,), dropped=dropped, model=evil, seconds=0)]
    )
    page = Page(html)
    assert "img" not in {tag for tag, _ in page.starts}
    assert len(re.findall("<script", html)) == 1
    assert not page.open


def test_a_page_needs_nothing_from_outside() -> None:
    html = render_report([extraction(mention("city", 31, 38))])
    assert not re.search(r"(?:src|href|url\()\s*=?\s*[\"']?(?:https?:)?//", html)
    assert "default-src 'none'" in html
    assert "prefers-color-scheme: dark" in html


def test_relations_and_absent_fillers_are_cards() -> None:
    relation = Record(
        frame="works at",
        slots=(FilledSlot(slot="person", filler=filler(0, 3)), FilledSlot(slot="place")),
        score=0.876,
    )
    html = render_report([extraction(relation)])
    assert "88 %" in html
    assert "without text" in html
    assert "0:3" in html


def test_what_is_missing_is_told() -> None:
    html = render_report(
        [extraction(truncated=True, dropped=(Dropped(reason="not in the text", value="x"),))]
    )
    assert "Nothing found." in html
    assert "cut at the limit" in html
    assert "1 piece of the answer left out" in html


def test_a_report_counts_many_extractions() -> None:
    html = render_report([extraction(mention("city", 31, 38)) for _ in range(3)])
    assert "<h1>3 records in 3 texts</h1>" in html


def test_notebooks_get_a_fragment_that_leaves_their_page_alone() -> None:
    one = extraction(mention("city", 31, 38))
    html = one._repr_html_()
    assert html == render_report([one], is_page=False)
    assert "<body" not in html
    assert "<script" not in html
    assert one.to_html() == render_report([one])


def test_reasons_are_shown_where_there_are_some() -> None:
    explanation = Explanation(
        gates={"judging": 0.91}, experts={"judging": (0.3, 0.7), "locating": (0.5, 0.5)}, num_tokens=4
    )
    explained = mention("city", 31, 38).model_copy(update={"explanation": explanation})
    html = render_report([extraction(explained, mention("city", 31, 38))])
    assert html.count("<summary>why</summary>") == 1
    assert "91 %" in html
    assert "30 % · 70 %" in html
    assert not Page(html).open
