"""A model that answers rows: the same in every process and on every machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ucuie.batch.question import Question
from ucuie.batch.rows import Row
from ucuie.errors import ModelError, show
from ucuie.extract.query import answer_each
from ucuie.model.source import DEFAULT, model_sha256

BATCHES_PER_SLICE = 4
"""Enough for the extractor to keep its batches full, few enough that little is lost with a worker."""


@dataclass(frozen=True)
class Job:
    """What is asked of every row; goes to the workers as it is.

    Args:
        question: what is asked.
        model: a source of `local_model`, for every worker to load.
        model_sha256: of that model; a worker that finds another refuses.
        capabilities: which of the adapter's experts take part; None means all.
        window_tokens: longer texts are read in windows; None as many as in training.
        max_new_tokens: where the output for a window is cut; None cuts nothing.
        batch_size: texts per forward pass.
        int8: large products are rounded to 8 bits.
        device: of the model; None takes a GPU if there is one.
    """

    question: Question
    model: str = DEFAULT
    model_sha256: str = ""
    capabilities: tuple[str, ...] | None = None
    window_tokens: int | None = None
    max_new_tokens: int | None = None
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
            **self.question.asked,
            "model": self.model,
            "model_sha256": self.model_sha256,
            "capabilities": None if self.capabilities is None else list(self.capabilities),
            "window_tokens": self.window_tokens,
            "max_new_tokens": self.max_new_tokens,
            "int8": self.int8,
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

        from ucuie.extract.extractor import Extractor

        if num_threads is not None:
            torch.set_num_threads(num_threads)
        if model_sha256(job.model) != job.model_sha256:
            raise ModelError(
                f"the model {show(job.model)} is another one here than where the work is handed out; "
                "copy it anew"
            )
        self._question = job.question
        self._extractor = Extractor.from_pretrained(
            job.model,
            device=device or job.device,
            batch_size=job.batch_size,
            int8=job.int8,
            capabilities=job.capabilities,
            window_tokens=job.window_tokens,
            max_new_tokens=job.max_new_tokens,
        )
        self._question.check(self._extractor)

    def answer(self, rows: Sequence[Row]) -> list[bytes]:
        """An `OutputRow` for each row, as a line of JSON without its end."""
        read = self._question.read(rows, self._extractor.model_name)
        return read.lines(answer_each(self._extractor, list(read.queries.values())))
