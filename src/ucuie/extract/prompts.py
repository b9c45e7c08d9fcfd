"""From a query to prompts that the model can hold: groups of frames, and how much text goes into one.

A schema that is too large for one prompt is asked for in groups of its frames, and the answers are put
together again.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial

from ucuie.engine.requests import SHORTEST_OUTPUT
from ucuie.errors import SchemaError
from ucuie.extract.document import Document, Room
from ucuie.extract.query import Query
from ucuie.language.encode import PromptEncoder
from ucuie.language.linearize import order_records
from ucuie.schema import Capability, Record, Schema, Span, Task
from ucuie.schema.capabilities import located_schema

SMALLEST_ROOM = 32
"""Tokens that the context has to leave beside the instruction."""
WINDOW_TOKENS = 64
"""Of a text that is too long to be read as a whole: models learn from sentences, hardly from pages."""
_LONGEST_WHOLE = 4096
"""Tokens of a text that is read as a whole where nothing else limits it."""
_KEPT_INSTRUCTIONS, _KEPT_SCHEMAS = 64, 8


class Prompts:
    """Plans the prompts of queries for one model.

    Args:
        encoder: of the model.
        context: tokens of the longest prompt with its output; None is no limit.
        window_tokens: a longer text is read in windows of so many tokens; None takes what there is room for,
            and windows of WINDOW_TOKENS where that is not enough.
    """

    def __init__(self, encoder: PromptEncoder, context: int | None, window_tokens: int | None) -> None:
        self._encoder = encoder
        self._context = sys.maxsize if context is None else context
        self._window_tokens = window_tokens
        self._encode_instruction = lru_cache(_KEPT_INSTRUCTIONS)(encoder.encode_instruction)
        self._groups = lru_cache(_KEPT_SCHEMAS)(self._split)

    def documents(self, query: Query) -> list[Document]:
        """The text once for each group of the schema's frames; most schemas are one group.

        Raises:
            SchemaError: a single frame is too large for the model's context.
        """
        documents = []
        for one in group_queries(query, self.groups(query.task, query.schema)):
            instruction_ids = self._encode_instruction(one.task, one.asked)
            documents.append(Document(one, instruction_ids, self._encoder, self._room(len(instruction_ids))))
        return documents

    def groups(self, task: Task | Capability, schema: Schema) -> list[Schema]:
        """The schema, or parts of it where one prompt cannot hold all of its frames."""
        return self._groups(task, schema)

    def _split(self, task: Task | Capability, schema: Schema) -> list[Schema]:
        def leaves(room: int, schema: Schema) -> bool:
            asked = Query("", "", schema, task).asked
            return self._context - len(self._encode_instruction(task, asked)) >= room

        if leaves(SMALLEST_ROOM, schema):
            return [schema]
        return split_schema(schema, partial(leaves, self._context // 2))

    def _room(self, num_instruction: int) -> Room:
        """What there is for a text beside an instruction of so many tokens."""
        if self._context == sys.maxsize:
            whole = self._window_tokens or _LONGEST_WHOLE
            return Room(whole=whole, window=min(whole, WINDOW_TOKENS), prompt=sys.maxsize)
        room = self._context - num_instruction
        if room < SMALLEST_ROOM:
            raise SchemaError(
                f"a single type of the schema has {num_instruction:,} tokens with its instruction, the "
                f"model's context {self._context:,}; at least {SMALLEST_ROOM} have to be left for a text and "
                "its output. Give it a shorter name or description, or fewer slots"
            )
        whole = min(room // 2, self._window_tokens or room)
        window = min(whole, self._window_tokens or WINDOW_TOKENS)
        return Room(whole=whole, window=window, prompt=room - SHORTEST_OUTPUT)


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
