"""The question to every row, and the way of rows to queries and lines: the same whoever answers."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ucuie.batch.rows import Columns, OutputRow, Row, Text
from ucuie.errors import SchemaError, TextError, show, validation_faults
from ucuie.extract.options import AnswerOptions
from ucuie.extract.query import AnswersQueries, Query
from ucuie.extract.result import Extraction
from ucuie.schema import Capability, Record, Schema, Task

logger = logging.getLogger(__name__)

_ELEMENTS = TypeAdapter(tuple[Record, ...] | None)


@dataclass(frozen=True)
class Question:
    """All that is asked of every row: a schema, in the wording of a task."""

    schema: Schema
    task: Task | Capability
    options: AnswerOptions = field(default_factory=AnswerOptions)
    columns: Columns = field(default_factory=Columns)

    @property
    def asked(self) -> dict[str, Any]:
        """All of it as plain types."""
        return {
            "schema": self.schema.model_dump(mode="json"),
            "task": self.task,
            **self.options.model_dump(mode="json"),
            "columns": asdict(self.columns),
        }

    def check(self, extractor: AnswersQueries) -> None:
        """Raise what is wrong with all rows before the first: a SchemaError or ConfigError."""
        probe = self._query(Text("1", "text"))
        elements = () if self.task == "associating" else None
        for fault in extractor.faults([replace(probe, elements=elements)]).values():
            raise fault

    def read(self, rows: Sequence[Row], model: str) -> "ReadRows":
        """The rows with their queries, for a model of that name."""
        return ReadRows(rows, *self.queries(rows), model)

    def queries(self, rows: Sequence[Row]) -> tuple[dict[int, Query], dict[int, str]]:
        """The queries of those rows that have one, and why the others have none, by their positions."""
        queries: dict[int, Query] = {}
        reasons: dict[int, str] = {}
        for index, row in enumerate(rows):
            try:
                queries[index] = self._query(row.read(self.columns))
            except TextError as error:
                reasons[index] = str(error)
            except ValidationError as error:
                reasons[index] = f"elements: {validation_faults(error)}"
        return queries, reasons

    def _query(self, text: Text) -> Query:
        elements = _ELEMENTS.validate_python(text.elements) if self.task == "associating" else None
        return Query(text.id, text.text, self.schema, self.task, elements, self.options)


@dataclass(frozen=True)
class ReadRows:
    """Rows on their way to lines.

    By their positions, those that have a text have queries, the others reasons why they have none. `model` is
    the name that rows without an answer get.
    """

    rows: Sequence[Row]
    queries: dict[int, Query]
    reasons: dict[int, str]
    model: str

    def lines(self, answers: Sequence[Extraction | Exception]) -> list[bytes]:
        """An `OutputRow` for each row, as a line of JSON without its end, from the answers to its queries."""
        output = {
            index: OutputRow.failed(self.rows[index], reason, model=self.model)
            for index, reason in self.reasons.items()
        }
        for (index, query), answer in zip(self.queries.items(), answers, strict=True):
            row = self.rows[index]
            if isinstance(answer, Extraction):
                output[index] = OutputRow.of(row, answer)
            else:
                output[index] = OutputRow.failed(row, _reason(query, answer), model=self.model, id=query.id)
        return [output[index].model_dump_json().encode() for index in range(len(self.rows))]


def _reason(query: Query, error: Exception) -> str:
    """The reason of a missing answer; one that is no fault of the text is worth a line in the log."""
    if isinstance(error, TextError | SchemaError):
        return str(error)
    logger.warning("the text %s makes the extractor fail", show(query.id), exc_info=error)
    return f"{type(error).__name__}: {error}"
