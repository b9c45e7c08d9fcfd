"""From the lines of a file of texts to queries: all bad lines are told at once, before any work."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ucuie.batch.texts import BadLine, Line, TextFile, write_rejected
from ucuie.errors import DataError, SchemaError, validation_faults
from ucuie.extract.options import AnswerOptions
from ucuie.extract.query import AnswersQueries, Query
from ucuie.schema import Capability, Record, Schema, Task


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
