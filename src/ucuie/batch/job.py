"""What is asked of every row, and the one function that answers a slice: the same on every engine."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from ucuie.batch.rows import Columns, OutputRow, Row
from ucuie.bulk import read_elements
from ucuie.errors import ModelError, SchemaError, TextError, show, validation_faults
from ucuie.extraction import Extraction
from ucuie.model_source import EMBEDDED, model_sha256
from ucuie.options import AnswerOptions
from ucuie.queries import Query, answer_each
from ucuie.schema import Capability, Schema, Task
from ucuie.texts import Line

logger = logging.getLogger(__name__)

BATCHES_PER_SLICE = 4
"""Enough for the extractor to keep its batches full, few enough that little is lost with a worker."""


@dataclass(frozen=True)
class Job:
    """What is asked of every row; goes to the workers as it is.

    Args:
        schema: what to look for.
        task: whose wording asks for it.
        model: "embedded", a folder, or a hub id, for every worker to load.
        model_sha256: of that model; a worker that finds another refuses.
        options: of all answers.
        capabilities: which of the adapter's experts take part; None means all.
        window_tokens: longer texts are read in windows; None as many as in training.
        max_new_tokens: where the output for a window is cut; None cuts nothing.
        columns: where the texts are.
        batch_size: texts per forward pass.
        int8: large products are rounded to 8 bits.
        device: of the model; None takes a GPU if there is one.
    """

    schema: Schema
    task: Task | Capability
    model: str = EMBEDDED
    model_sha256: str = ""
    options: AnswerOptions = field(default_factory=AnswerOptions)
    capabilities: tuple[str, ...] | None = None
    window_tokens: int | None = None
    max_new_tokens: int | None = None
    columns: Columns = field(default_factory=Columns)
    batch_size: int = 32
    int8: bool = False
    device: str | None = None

    @property
    def slice_rows(self) -> int:
        """Rows that a worker gets at once."""
        return BATCHES_PER_SLICE * self.batch_size

    @property
    def asked(self) -> dict[str, Any]:
        """All that the content of the output depends on, but the input, as plain types."""
        return {
            "schema": self.schema.model_dump(mode="json"),
            "task": self.task,
            "model": self.model,
            "model_sha256": self.model_sha256,
            "threshold": dict(self.options.threshold.values),
            "end_bias": self.options.end_bias,
            "raw_scores": self.options.raw_scores,
            "capabilities": None if self.capabilities is None else list(self.capabilities),
            "window_tokens": self.window_tokens,
            "max_new_tokens": self.max_new_tokens,
            "int8": self.int8,
            "columns": asdict(self.columns),
            "slice_rows": self.slice_rows,
        }


class Answerer:
    """A worker: one model, rows in, lines out.

    Args:
        job: what is asked of them.
        device: instead of the job's.
        num_threads: of torch on a CPU; None leaves it alone.

    Raises:
        ModelError: the model cannot be loaded, or is not the job's.
        SchemaError: the schema is too large for the model's context.
        ConfigError: an option is impossible.
    """

    def __init__(self, job: Job, *, device: str | None = None, num_threads: int | None = None) -> None:
        # torch, which the program that hands out the work does without.
        import torch

        from ucuie.extractor import Extractor

        if num_threads is not None:
            torch.set_num_threads(num_threads)
        if model_sha256(job.model) != job.model_sha256:
            raise ModelError(
                f"the model {show(job.model)} is another one here than where the work is handed out; "
                "copy it anew"
            )
        self._job = job
        self._extractor = Extractor.from_pretrained(
            job.model,
            device=device or job.device,
            batch_size=job.batch_size,
            int8=job.int8,
            capabilities=job.capabilities,
            window_tokens=job.window_tokens,
            max_new_tokens=job.max_new_tokens,
        )
        self._model_name = self._extractor.model_name
        # Whatever is wrong with all rows is said before the first.
        probe = self._query(Line(1, "1", "text", ""))
        for fault in self._extractor.faults(
            [replace(probe, elements=() if probe.task == "associating" else None)]
        ).values():
            raise fault

    def answer(self, rows: Sequence[Row]) -> list[bytes]:
        """An `OutputRow` for each row, as a line of JSON without its end."""
        return [row.model_dump_json().encode() for row in self._output_rows(rows)]

    def _output_rows(self, rows: Sequence[Row]) -> list[OutputRow]:
        queries: dict[int, Query] = {}
        output: dict[int, OutputRow] = {}
        for index, row in enumerate(rows):
            line = row.read(self._job.columns)
            try:
                if isinstance(line, Line):
                    queries[index] = self._query(line)
                else:
                    output[index] = self._failed(row, line.reason)
            except ValidationError as error:
                output[index] = self._failed(row, f"elements: {validation_faults(error)}")
        answers = answer_each(self._extractor, list(queries.values()))
        for (index, query), answer in zip(queries.items(), answers, strict=True):
            if isinstance(answer, Extraction):
                output[index] = OutputRow.of(rows[index], answer)
            else:
                output[index] = self._failed(rows[index], _reason(query, answer), id=query.id)
        return [output[index] for index in range(len(rows))]

    def _query(self, line: Line) -> Query:
        task = self._job.task
        elements = read_elements(line) if task == "associating" else None
        return Query(line.id, line.text, self._job.schema, task, elements, self._job.options)

    def _failed(self, row: Row, error: str, *, id: str | None = None) -> OutputRow:  # noqa: A002
        return OutputRow.failed(row, error, model=self._model_name, id=id)


def _reason(query: Query, error: Exception) -> str:
    """Why a query has no answer; what is no fault of the text is worth a line in the log."""
    if isinstance(error, TextError | SchemaError):
        return str(error)
    logger.warning("the text %s makes the extractor fail", show(query.id), exc_info=error)
    return f"{type(error).__name__}: {error}"
