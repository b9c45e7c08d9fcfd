"""Queries answered in order, going on from what an interrupted run has staged."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from ucuie.extract.query import AnswersQueries, Query
from ucuie.extract.result import Extraction
from ucuie.files import StagedLines

Progress = Callable[[Iterator[Extraction], int], Iterator[Extraction]]
"""Passes extractions on and shows how many of a total there were."""


def answer_staged(
    extractor: AnswersQueries, queries: Sequence[Query], staged: StagedLines
) -> Iterator[Extraction]:
    """The extraction of each query, from an earlier run as far as that came; staged before it is yielded."""
    num_done = 0
    for line in staged.read():
        yield Extraction.model_validate_json(line)
        num_done += 1
    for extraction in extractor.answer(queries[num_done:]):
        staged.append(extraction.to_json())
        yield extraction


def resume_key(extractor: AnswersQueries, queries: Iterable[Query]) -> str:
    """Equal for the same model asked the same things, in hex."""
    digest = hashlib.sha256(extractor.identity.encode())
    for query in queries:
        digest.update(repr((query.id, query.text, query.task, query.elements, query.options)).encode())
        digest.update(repr(query.schema).encode())
    return digest.hexdigest()
