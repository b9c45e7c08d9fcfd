"""A model that answers rows: the same in every process and on every machine."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ucuie.batch.question import Question
from ucuie.batch.rows import Row
from ucuie.errors import ModelError, show
from ucuie.extract.options import ModelOptions
from ucuie.extract.query import answer_each
from ucuie.model.source import DEFAULT, model_sha256

BATCHES_PER_SLICE = 4
"""Enough for the extractor to keep its batches full, few enough that little is lost with a worker."""


@dataclass(frozen=True)
class Job:
    """A question to every row, and the model for every worker to load; goes to the workers as it is.

    A worker that finds a model of another SHA-256 refuses.
    """

    question: Question
    model_sha256: str = ""
    options: ModelOptions = field(default_factory=ModelOptions)

    @property
    def model(self) -> str:
        """A source of `local_model`."""
        return DEFAULT if self.options.model is None else self.options.model

    @property
    def slice_rows(self) -> int:
        """Rows that a worker gets at once."""
        return BATCHES_PER_SLICE * self.options.batch_size

    @property
    def asked(self) -> dict[str, Any]:
        """All that the content of the output depends on, but the input, as plain types."""
        return {
            **self.question.asked,
            **self.options.asked,
            "model": self.model,
            "model_sha256": self.model_sha256,
            "slice_rows": self.slice_rows,
        }


class Answerer:
    """A worker: one model, rows in, lines out.

    A device goes before the job's; `num_threads` of torch on a CPU are left alone where it is None.

    Raises:
        ModelError: the model cannot be loaded, or is not the job's.
        SchemaError: the schema is too large for the model's context.
        ConfigError: an option is impossible.
    """

    def __init__(self, job: Job, *, device: str | None = None, num_threads: int | None = None) -> None:
        # torch, which the program that hands out the work does without.
        import torch

        from ucuie.extract.extractor import Extractor

        if num_threads is not None:
            torch.set_num_threads(num_threads)
        if model_sha256(job.model) != job.model_sha256:
            raise ModelError(
                f"the model {show(job.model)} is another one here than where the work is handed out; "
                "copy it anew"
            )
        self._question = job.question
        here = {"model": job.model, "device": device or job.options.device}
        self._extractor = Extractor.from_pretrained(**dict(job.options) | here)
        self._question.check(self._extractor)

    def answer(self, rows: Sequence[Row]) -> list[bytes]:
        """An `OutputRow` for each row, as a line of JSON without its end."""
        read = self._question.read(rows, self._extractor.model_name)
        return read.lines(answer_each(self._extractor, list(read.queries.values())))
