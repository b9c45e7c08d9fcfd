"""All of a text: its windows, for each group of the schema's types, some at a time; then put together.

In: a query. Out: what was found in the whole text. How a window is asked for is `windows`.
"""

from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import lru_cache

from ucuie.extract.prompts import group_queries, merge_groups, split_schema
from ucuie.extract.query import Query
from ucuie.extract.remote.messages import describe_schema
from ucuie.extract.remote.session import in_order
from ucuie.extract.remote.windows import Answer, WindowReader, range_of_characters
from ucuie.language.merging import RecordMerger
from ucuie.language.windows import split_windows
from ucuie.schema import Dropped, Record, Schema, Span

SCHEMA_CHARACTERS = 10_000
"""That describe types in one question: with a window and the longest answer they fit into 8,192 tokens."""


@dataclass(frozen=True)
class Found:
    """What was found in a text: the fields of an `Extraction`."""

    records: tuple[Record, ...]
    dropped: tuple[Dropped, ...]
    truncated: bool


async def read_text(
    query: Query, reader: WindowReader, *, window_characters: int, num_concurrent: int
) -> Found:
    """The records of a text.

    Args:
        query: of the text.
        reader: of its windows.
        window_characters: of each, at most.
        num_concurrent: windows that are under way at the same time.

    Raises:
        EndpointError: as of the reader.
    """
    documents = [_Document(one) for one in group_queries(query, _groups(query.schema))]

    async def read(document: _Document, window: Span) -> tuple[_Document, Span, Answer]:
        return document, window, await reader.read(document.query, query.text[window[0] : window[1]])

    reading = (
        read(document, window) for document in documents for window in document.windows(window_characters)
    )
    async with aclosing(in_order(reading, num_concurrent)) as finished:
        async for document, window, answer in finished:
            document.add(window, answer)
    kept = [document.finish() for document in documents]
    return Found(
        merge_groups([records for records, _ in kept], [document.query.schema for document in documents]),
        tuple(one for _, dropped in kept for one in dropped),
        any(document.truncated for document in documents),
    )


@lru_cache(maxsize=8)
def _groups(schema: Schema) -> list[Schema]:
    """The schema, or parts of it where its description would fill a question."""
    return split_schema(schema, lambda group: len(describe_schema(group)) <= SCHEMA_CHARACTERS)


class _Document:
    """A text being read for one group of types."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.truncated = False
        self._dropped: list[Dropped] = []
        self._merger = RecordMerger(query.schema)

    def windows(self, num_characters: int) -> Iterator[Span]:
        return split_windows(self.query.text, range_of_characters, num_characters)

    def add(self, window: Span, answer: Answer) -> None:
        """Take the answer to a window; windows come in their order."""
        self._merger.settle(window[0])
        for (start, end), records in answer.pieces:
            self._merger.add((window[0] + start, window[0] + end), records)
        self._dropped += answer.dropped
        self.truncated |= answer.truncated

    def finish(self) -> tuple[tuple[Record, ...], tuple[Dropped, ...]]:
        """The records of the whole text that reach their threshold, and what was dropped."""
        return self.query.options.threshold.keep(self._merger.finish(), self._dropped)
