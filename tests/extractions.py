"""Extractions with every kind of record, hand-made and random."""

from hypothesis import strategies as st

from ucuie import Extraction, FilledSlot, Filler, Record

TEXT = "Ada Lovelace lived in London & wrote there."


def filler(text: str, within: str = TEXT, score: float | None = 0.5) -> Filler:
    start = within.index(text)
    return Filler(text=text, start=start, end=start + len(text), score=score)


def filled(slot: str, text: str | None) -> FilledSlot:
    return FilledSlot(slot=slot, filler=None if text is None else filler(text))


ENTITY = Record(frame="person", filler=filler("Ada Lovelace"), score=0.9)
RELATION = Record(frame="live in", slots=(filled("who", "Ada"), filled("where", "London")), score=0.8)
EVENT = Record(frame="write", filler=filler("wrote"), slots=(filled("place", "there"), filled("time", None)))
JUDGED = Record(frame="travel", score=0.1)
EVERYTHING = Extraction(
    id="a b", text=TEXT, records=(ENTITY, RELATION, EVENT, JUDGED), model="none", seconds=0.0
)

_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)


@st.composite
def extractions(draw: st.DrawFn) -> Extraction:
    text = draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
    names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4).filter(str.strip)

    def one_filler() -> Filler:
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, len(text)))
        return Filler(text=text[start:end], start=start, end=end, score=draw(st.none() | st.floats(0, 1)))

    records = [
        Record(
            frame=draw(names),
            filler=draw(st.sampled_from([None, one_filler()])),
            slots=tuple(
                FilledSlot(slot=draw(names), filler=draw(st.sampled_from([None, one_filler()])))
                for _ in range(draw(st.integers(0, 3)))
            ),
            score=draw(st.none() | st.floats(0, 1)),
        )
        for _ in range(draw(st.integers(0, 3)))
    ]
    return Extraction(id=draw(_ids), text=text, records=tuple(records), model="none", seconds=0.0)
