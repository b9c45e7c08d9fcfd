"""Groups of a large schema: no frame lost, and one claim to the same words."""

from hypothesis import given
from hypothesis import strategies as st

from ucuie.extract.document import group_queries, merge_groups, split_schema
from ucuie.extract.query import Query
from ucuie.schema import Filler, Record, Schema


def entity(frame: str, start: int, end: int, score: float | None = None) -> Record:
    return Record(frame=frame, filler=Filler(text="x" * (end - start), start=start, end=end), score=score)


@given(st.integers(1, 60), st.integers(1, 20))
def test_groups_hold_all_frames_once_and_in_their_order(num_frames: int, most: int) -> None:
    schema = Schema.of([f"type {number}" for number in range(num_frames)])
    groups = split_schema(schema, lambda group: len(group.frames) <= most)
    assert [frame for group in groups for frame in group.frames] == list(schema.frames)
    assert all(len(group.frames) <= most for group in groups)


def test_a_single_frame_is_a_group_even_if_it_does_not_fit() -> None:
    schema = Schema.of(["a", "b"])
    assert [group.frame_names for group in split_schema(schema, lambda _: False)] == [("a",), ("b",)]


def test_the_surest_group_keeps_the_words_that_several_claim() -> None:
    schema = Schema.of(["city", "river", "person", "animal"])
    merged = merge_groups(
        [
            [entity("city", 0, 4, 0.6), entity("river", 0, 4, 0.2), entity("city", 9, 12, 0.5)],
            [entity("person", 0, 4, 0.9), entity("animal", 9, 12, 0.5), entity("person", 5, 8, 0.1)],
        ],
        [schema],
    )
    assert [(record.frame, record.filler.start) for record in merged if record.filler] == [
        ("person", 0),
        ("person", 5),
        ("city", 9),
    ]


def test_records_without_words_of_their_own_all_stay() -> None:
    schema = Schema.of({"live in": ["subject"], "work in": ["subject"]})
    records = [Record(frame="work in"), Record(frame="live in")]
    assert merge_groups([[records[0]], [records[1]]], [schema]) == (records[1], records[0])


def test_elements_go_to_the_groups_that_know_them() -> None:
    schema = Schema.of({"live in": ["person", "place"], "work for": ["person", "employer"]})
    elements = (entity("person", 0, 3), entity("place", 4, 6), entity("employer", 7, 9))
    query = Query("1", "xxx xx xx", schema, "associating", elements)
    groups = [Schema(frames=(frame,)) for frame in schema.frames]
    first, second = group_queries(query, groups)
    assert first.elements == elements[:2]
    assert second.elements == (elements[0], elements[2])
