"""Many texts at once: checked before any work, answered in order, resumed where a run was interrupted."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ucuie.atomic import StagedLines
from ucuie.errors import DataError, SchemaError, validation_faults
from ucuie.extraction import Extraction
from ucuie.options import AnswerOptions
from ucuie.queries import AnswersQueries, Query
from ucuie.render import Format, write
from ucuie.schema import Capability, Record, Schema, Task
from ucuie.texts import BadLine, Line, TextFile, write_rejected

Progress = Callable[[Iterator[Extraction], int], Iterator[Extraction]]
"""Passes extractions on and shows how many of a total there were."""


def usable_queries(
    file: TextFile,
    extractor: AnswersQueries,
    schema: Schema,
    *,
    task: Task | Capability | None = None,
    options: AnswerOptions | None = None,
    rejected: Path | None = None,
) -> list[Query]:
    """A query for each line of a file.

    Args:
        file: the texts.
        extractor: knows which texts its model can read.
        schema: what to look for in all of them.
        task: whose wording asks for it; None takes the task that the schema has the shape of. Only
            "associating" reads the elements of the lines.
        options: of all answers.
        rejected: where lines that cannot be used are listed; None refuses the whole file for one of them.

    Raises:
        DataError: lines cannot be used; all of them at once.
        SchemaError: the schema is too large for the model's context.
    """
    task = task or schema.task
    lines = [line for line in file.lines if isinstance(line, Line)]
    bad_lines = [line for line in file.lines if isinstance(line, BadLine)]
    queries: list[Query] = []
    asked: list[Line] = []
    for line in lines:
        try:
            elements = read_elements(line) if task == "associating" else None
        except ValidationError as error:
            bad_lines.append(line.bad(f"elements: {validation_faults(error)}"))
            continue
        queries.append(Query(line.id, line.text, schema, task, elements, options or AnswerOptions()))
        asked.append(line)
    faults = extractor.faults(queries)
    for fault in faults.values():
        # A schema that is too large is so for every line.
        if isinstance(fault, SchemaError):
            raise fault
    bad_lines += [asked[index].bad(str(faults[index])) for index in faults]
    bad_lines.sort(key=lambda bad: bad.number)
    if bad_lines and rejected is None:
        raise _refusal(file, bad_lines)
    if bad_lines and rejected is not None:
        write_rejected(rejected, bad_lines)
    return [query for index, query in enumerate(queries) if index not in faults]


_ELEMENTS = TypeAdapter(tuple[Record, ...] | None)


def read_elements(line: Line) -> tuple[Record, ...] | None:
    """The located spans of a line, for the task "associating".

    Raises:
        ValidationError: they are no records.
    """
    return _ELEMENTS.validate_python(line.elements)


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


def rejected_path(file: TextFile, output: Path | None) -> Path:
    """Where the bad lines of `notes.jsonl` are listed: `notes.rejected.jsonl` beside the output, or here."""
    folder = Path() if output is None else output.parent
    return folder / f"{Path(file.name).stem}.rejected.jsonl"


def _refusal(file: TextFile, bad_lines: Sequence[BadLine]) -> DataError:
    return DataError(
        file.description,
        [f"{bad.place:<11} {bad.reason}" for bad in bad_lines],
        "nothing was written. --skip-bad leaves such lines out and lists them in "
        f"{rejected_path(file, None)}",
    )
