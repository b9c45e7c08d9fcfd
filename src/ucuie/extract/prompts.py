"""From a query to requests that the model can hold: groups of frames, and how much text goes into one."""

import sys
from collections.abc import Sequence
from functools import lru_cache, partial

from ucuie.engine.requests import SHORTEST_OUTPUT, Request
from ucuie.errors import SchemaError, TextError, show
from ucuie.extract.document import Document, Part, group_queries, split_schema
from ucuie.extract.query import Query
from ucuie.language.encode import PromptEncoder
from ucuie.language.grammar import build_grammar
from ucuie.language.merging import shift_record
from ucuie.schema import Capability, Record, Schema, Span, Task
from ucuie.schema.capabilities import capability_labels

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
        encoder: makes the model's token ids.
        context: tokens of the longest prompt with its output; None is no limit.
        window_tokens: a longer text is read in windows of so many tokens; None takes what there is room for,
            and windows of WINDOW_TOKENS where that is not enough.
    """

    def __init__(self, encoder: PromptEncoder, context: int | None, window_tokens: int | None) -> None:
        self._encoder = encoder
        self._context = sys.maxsize if context is None else context
        self._window_tokens = window_tokens
        self._encode_instruction = lru_cache(_KEPT_INSTRUCTIONS)(encoder.encode_instruction)
        self.groups = lru_cache(_KEPT_SCHEMAS)(self._split)
        """For a task and a schema that schema, or parts of it where one prompt cannot hold all its frames."""

    def documents(self, query: Query) -> list[Document]:
        """The text once for each group of the schema's frames; most schemas are one group.

        Raises:
            SchemaError: a single frame is too large for the model's context.
        """
        return [self._document(one) for one in group_queries(query, self.groups(query.task, query.schema))]

    def _split(self, task: Task | Capability, schema: Schema) -> list[Schema]:
        def leaves(room: int, schema: Schema) -> bool:
            asked = Query("", "", schema, task).asked
            return self._context - len(self._encode_instruction(task, asked)) >= room

        if leaves(SMALLEST_ROOM, schema):
            return [schema]
        return split_schema(schema, partial(leaves, self._context // 2))

    def _document(self, query: Query) -> Document:
        """The text, of which a window and its output have the room that the instruction leaves."""
        instruction_ids = self._encode_instruction(query.task, query.asked)
        room = self._context - len(instruction_ids)
        if room < SMALLEST_ROOM:
            raise SchemaError(
                f"a single type of the schema has {len(instruction_ids):,} tokens with its instruction, the "
                f"model's context {self._context:,}; at least {SMALLEST_ROOM} have to be left for a text and "
                "its output. Give it a shorter name or description, or fewer slots"
            )
        longest = _LONGEST_WHOLE if self._context == sys.maxsize else room
        whole = min(room // 2, self._window_tokens or longest)
        return Document(
            query,
            self._encoder.token_starts,
            window=min(whole, self._window_tokens or WINDOW_TOKENS),
            whole=whole,
            prepare=partial(self._prepare, instruction_ids, room - SHORTEST_OUTPUT),
        )

    def _prepare(self, instruction_ids: Sequence[int], room: int, part: Part) -> None:
        """Give a part its request; where that is more than the context holds, divide it.

        Raises:
            TextError: a single character and its elements are more than the context holds.
        """
        query, text = part.document.query, part.text
        elements = None if query.elements is None else elements_within(query.elements, text, part.window)
        part.request = Request(
            instruction_ids=instruction_ids,
            text_ids=self._encoder.encode_text(text, elements),
            grammar=build_grammar(query.asked, text, query.task, elements=elements),
            capability_labels=capability_labels(query.task),
            end_bias=query.options.end_bias,
            # Answers to windows have no order in common, so that only a whole text has alternatives.
            num_beams=query.options.n_best if part.is_whole_text else 1,
        )
        # Blocks of the text were counted without the elements, and apart from what stands before them.
        if len(part.request.text_ids) > room and not part.divide():
            raise TextError(
                f"{show(text)} has {len(part.request.text_ids):,} tokens with its elements, and the model's "
                f"context leaves room for {room:,}; give fewer elements at once"
            )


def elements_within(elements: Sequence[Record], text: str, window: Span) -> tuple[Record, ...]:
    """The located spans for a window: those in it, and those whose string occurs in it too.

    The elements have offsets in the whole text, the spans in `text`, which the window shows.
    """
    within: list[Record] = []
    elsewhere: list[Record] = []
    for element in elements:
        is_within = all(window[0] <= own.start and own.end <= window[1] for own in element.fillers())
        (within if is_within else elsewhere).append(element)
    found = [shift_record(element, -window[0]) for element in within]
    seen = {(element.frame, own.text) for element in found for own in element.fillers()}
    for element in elsewhere:
        for own in element.fillers():
            start = text.find(own.text)
            if start >= 0 and (element.frame, own.text) not in seen:
                seen.add((element.frame, own.text))
                place = own.model_copy(update={"start": start, "end": start + len(own.text)})
                found.append(Record(frame=element.frame, filler=place))
    return tuple(found)
