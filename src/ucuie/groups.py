"""A schema that is too large for one prompt: asked for in groups of frames, the answers together again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from ucuie.capabilities import located_schema
from ucuie.linearize import order_records
from ucuie.queries import Query
from ucuie.schema import Record, Schema, Span


def split_schema(schema: Schema, fits: Callable[[Schema], bool]) -> list[Schema]:
    """The schema's frames in their order, halved until each group fits or is a single frame."""
    if len(schema.frames) == 1 or fits(schema):
        return [schema]
    middle = (len(schema.frames) + 1) // 2
    halves = (schema.frames[:middle], schema.frames[middle:])
    return [group for half in halves for group in split_schema(Schema(frames=half), fits)]


def group_queries(query: Query, groups: Sequence[Schema]) -> Iterator[Query]:
    """The query once for each group, with the elements that are of it; of one group the query itself."""
    if len(groups) == 1:
        yield query
        return
    for group in groups:
        elements = query.elements
        if elements is not None:
            names = located_schema(group, has_evoked_frames=True).frame_names
            elements = tuple(element for element in elements if element.frame in names)
        yield replace(query, schema=group, elements=elements)


def merge_groups(groups: Sequence[Sequence[Record]], schemas: Iterable[Schema]) -> tuple[Record, ...]:
    """The records of all groups in the order of the output.

    A group does not know what the others offer: of groups that claim the same words for a frame, the one that
    is surest of it keeps its records; the first, where there are no scores.

    Args:
        groups: the records of each.
        schemas: that the groups were asked for.
    """
    if len(groups) == 1:
        return tuple(groups[0])
    surest: dict[Span, tuple[float, int]] = {}
    for index, records in enumerate(groups):
        for record in records:
            if record.filler is not None:
                claim = (record.score or 0.0, -index)
                surest[record.filler.span] = max(surest.get(record.filler.span, claim), claim)
    kept = [
        record
        for index, records in enumerate(groups)
        for record in records
        if record.filler is None or surest[record.filler.span][1] == -index
    ]
    frames = {frame.name: frame for schema in schemas for frame in schema.frames}
    return order_records(kept, Schema(frames=tuple(frames.values())))
