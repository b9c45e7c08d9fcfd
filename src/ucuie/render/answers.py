"""Answers to many queries as one file, which appears when it is whole."""

from collections.abc import Sequence
from pathlib import Path

from ucuie.extract.query import AnswersQueries, Progress, Query, answer_staged, resume_key
from ucuie.extract.result import Extraction
from ucuie.files import StagedLines
from ucuie.render.formats import Format, write


def answer_to_file(
    extractor: AnswersQueries,
    queries: Sequence[Query],
    output: Path,
    *,
    output_format: Format,
    progress: Progress,
) -> list[Extraction]:
    """Writes the extractions of all queries to a file, which appears when they are all there.

    What an interrupted run has done is kept beside the file, and the next equal run goes on from it.
    """
    staged = StagedLines(output, key=resume_key(extractor, queries))
    extractions = list(progress(answer_staged(extractor, queries, staged), len(queries)))
    if output_format == "jsonl":
        staged.publish()
    else:
        write(extractions, output, output_format)
        staged.discard()
    return extractions
