"""`ucuie batch`."""

import time
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer
from pydantic import BaseModel, Field
from rich.console import Console

from ucuie import __version__
from ucuie.cli.common import IdKey, Quiet, TaskName, TextKey, exit_interrupted, one_of, refuse, talk_console
from ucuie.cli.options import (
    NOT_ELSEWHERE,
    NOT_HERE,
    EndpointFlags,
    EndpointOptions,
    ModelFlags,
    all_flags,
    answer_flags,
    grouped,
)
from ucuie.extract.options import AnswerOptions, ModelOptions
from ucuie.extract.query import task_named
from ucuie.schema import Schema
from ucuie.templates import counted

if TYPE_CHECKING:
    from ucuie.batch.question import Question
    from ucuie.batch.run import BatchReport, Progress
    from ucuie.batch.work import Workers

_TELL_SECONDS = 10.0
"""Between two lines, where there is no terminal to write one over the other."""
_ENGINES = ("local", "ray")

Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="File, folder or pattern, here or at an address such as s3://...: .jsonl, .parquet, .csv, "
        ".tsv, .txt with a text on each line, or a folder of .txt files that are a text each.",
    ),
]
Shards = Annotated[str, typer.Argument(metavar="OUTPUT", help="Folder of shards; new, or of the same run.")]
SchemaSource = Annotated[
    str, typer.Option("--schema", "-s", help="YAML or JSON file, or JSON itself, such as a list of names.")
]
EngineName = Annotated[
    str,
    typer.Option(
        parser=one_of(_ENGINES), metavar="NAME", help="local for processes here, ray for a cluster."
    ),
]
NumWorkers = Annotated[
    int | None,
    typer.Option("--workers", "-w", min=1, help="Processes or actors, a model each.", show_default="1"),
]
ShardFormat = Annotated[Literal["jsonl", "parquet"], typer.Option("--format", "-f", help="Of the shards.")]
ShardRows = Annotated[
    int, typer.Option(min=1, help="Rows of a shard, which is done or not done after an interruption.")
]
MaxCharacters = Annotated[int, typer.Option(min=1, help="Longer texts are set aside with an error.")]


class ClusterOptions(BaseModel, frozen=True, use_attribute_docstrings=True):
    """A Ray cluster, and what each actor has of it."""

    address: str | None = None
    """Of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT; left out, one is started here."""

    cpus_per_worker: float | None = Field(default=None, ge=0)
    """Of an actor of Ray; left out, 1."""

    gpus_per_worker: float | None = Field(default=None, ge=0)
    """Of an actor of Ray; 0.5 shares one; left out, none."""


@grouped
def batch(
    *,
    source: Input,
    output: Shards,
    schema: SchemaSource,
    engine: EngineName = "local",
    workers: NumWorkers = None,
    cluster: Annotated[ClusterOptions, all_flags(ClusterOptions)],
    shard_format: ShardFormat = "jsonl",
    shard_rows: ShardRows = 1_000,
    text_column: TextKey = "text",
    id_column: IdKey = "id",
    max_characters: MaxCharacters = 1_000_000,
    task: TaskName = None,
    answer: Annotated[AnswerOptions, answer_flags("threshold", "end_bias", "raw_scores")],
    model: ModelFlags,
    endpoint: EndpointFlags,
    quiet: Quiet = False,
) -> None:
    """Extract from any number of texts, with processes, machines or a server; an interrupted run goes on.

    Every row of the input is one row of the output, in the same order; a text without an answer has an error
    there, and is listed in the folder rejected.
    """
    from ucuie.batch.output import Manifest, OutputFolder
    from ucuie.batch.question import Question
    from ucuie.batch.rows import Columns
    from ucuie.batch.run import Batch, run_batch
    from ucuie.batch.sources import Source

    if engine == "local":
        refuse(cluster.model_fields_set, "is for --engine ray")
    parsed = Schema.of(schema)
    answer.threshold.check(parsed)
    columns = Columns(text_column, id_column, max_characters)
    rows = Source(source, columns)
    rows.check_output(output)
    question = Question(parsed, task_named(task, parsed), answer, columns)
    talk = talk_console(quiet=quiet)
    if endpoint.endpoint is not None:
        refuse(["engine"] * (engine != "local") + ["workers"] * (workers is not None), NOT_ELSEWHERE)
        answering = _served(question, model, endpoint, talk)
    else:
        refuse(endpoint.model_fields_set, NOT_HERE)
        answering = _loaded(question, model, workers or 1, None if engine == "local" else cluster)
    manifest = Manifest(
        ucuie=__version__, input=rows.facts, asked=answering.asked, shard_rows=shard_rows, format=shard_format
    )
    if rows.num_left_out:
        talk.print(f"left out {counted(rows.num_left_out, 'file')} of other kinds")
    try:
        with OutputFolder(output, manifest) as folder, answering.engine as started:
            work = Batch(rows, folder, started, shard_rows, answering.slice_rows, answering.model)
            report = run_batch(work, _Watcher(talk))
    except KeyboardInterrupt:
        exit_interrupted("", "the same command")
    talk.print(_summary(report, output))


class _Answering(NamedTuple):
    """Who answers the rows."""

    engine: "AbstractContextManager[Workers]"
    slice_rows: int
    """Rows that it gets at once."""
    model: str
    """The name that rows without an answer have there."""
    asked: dict[str, Any]
    """All that the content of the output depends on, but the input, as plain types."""


def _served(
    question: "Question", model: ModelOptions, endpoint: EndpointOptions, talk: Console
) -> _Answering:
    """A model behind an endpoint, of whose options a model here shares one."""
    from ucuie.batch.endpoint import SLICE_ROWS, EndpointEngine

    extractor = endpoint.connect(model, talk)
    engine = EndpointEngine(extractor, question)
    asked = {**question.asked, **extractor.asked}
    return _Answering(nullcontext(engine), SLICE_ROWS, extractor.model_name, asked)


def _loaded(
    question: "Question", model: ModelOptions, num_workers: int, cluster: ClusterOptions | None
) -> _Answering:
    """A model in processes of this machine, or in actors of a cluster."""
    from ucuie.batch.cluster import RayEngine
    from ucuie.batch.job import Job
    from ucuie.batch.local import LocalEngine
    from ucuie.model.source import DEFAULT, model_sha256

    named = model.model or DEFAULT
    if Path(named).exists():
        # Workers may have another working directory.
        named = str(Path(named).resolve())
    job = Job(question, model_sha256(named), model.model_copy(update={"model": named}))
    engine: LocalEngine | RayEngine
    if cluster is None:
        engine = LocalEngine(job, num_workers=num_workers)
    else:
        of_actor = {name.removesuffix("_per_worker"): value for name, value in cluster if value is not None}
        engine = RayEngine(job, num_workers=num_workers, **of_actor)
    return _Answering(engine, job.slice_rows, job.model, job.asked)


class _Watcher:
    """Says how far it is: on a terminal all the time on one line, elsewhere a line now and then."""

    def __init__(self, talk: Console) -> None:
        self._talk = talk
        self._told = time.perf_counter()

    def __call__(self, progress: "Progress") -> None:
        now = time.perf_counter()
        if now - self._told < (0.5 if self._talk.is_terminal else _TELL_SECONDS):
            return
        self._told = now
        words = [
            counted(progress.num_kept + progress.num_rows, "text"),
            f"{100 * progress.share:.1f} %",
            f"{progress.rows_per_second:.1f} texts/s",
        ]
        if progress.seconds_left is not None:
            words.append(f"{timedelta(seconds=round(progress.seconds_left))} left")
        if progress.num_lost:
            words.append(f"{counted(progress.num_lost, 'slice')} asked again, with their workers lost")
        if progress.num_rejected:
            words.append(f"{progress.num_rejected:,} set aside")
        self._talk.print(", ".join(words), end="   \r" if self._talk.is_terminal else "\n")


def _summary(report: "BatchReport", output: str) -> str:
    kept = f", {report.num_kept:,} of them before" if report.num_kept else ""
    rejected = ""
    if report.num_rejected:
        rejected = f"; {report.num_rejected:,} without an answer, listed in {output}/rejected"
    return (
        f"{counted(report.num_rows, 'text')}{kept}, {report.rows_per_second:.1f} texts/s -> "
        f"{counted(report.num_shards, 'shard')} in {output}{rejected}"
    )
