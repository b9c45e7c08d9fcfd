"""`ucuie batch`."""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from ucuie import __version__
from ucuie.cli.common import (
    BATCH_SIZE,
    BatchSize,
    Concurrency,
    Constrained,
    Device,
    EndBias,
    IdKey,
    Int8,
    Model,
    Quiet,
    RawScores,
    ServedAt,
    ServedModel,
    TextKey,
    Threshold,
    WindowCharacters,
    answer_options,
    connected,
    exit_interrupted,
    one_of,
    refuse,
    talk_console,
)
from ucuie.extract.query import task_named
from ucuie.schema import CAPABILITIES, TASKS, Schema
from ucuie.templates import counted

if TYPE_CHECKING:
    from ucuie.batch.job import Job
    from ucuie.batch.question import Question
    from ucuie.batch.run import BatchReport, Progress
    from ucuie.batch.work import Engine

_TELL_SECONDS = 10.0
"""Between two lines, where there is no terminal to write one over the other."""
_ENGINES = ("local", "ray")


def batch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="File, folder or pattern, here or at an address such as s3://...: .jsonl, .parquet, .csv, "
            ".tsv, .txt with a text on each line, or a folder of .txt files that are a text each.",
        ),
    ],
    output: Annotated[
        str, typer.Argument(metavar="OUTPUT", help="Folder of shards; new, or of the same run.")
    ],
    schema: Annotated[
        str,
        typer.Option("--schema", "-s", help="YAML or JSON file, or JSON itself, such as a list of names."),
    ],
    engine: Annotated[
        str,
        typer.Option(
            parser=one_of(_ENGINES), metavar="NAME", help="local for processes here, ray for a cluster."
        ),
    ] = "local",
    workers: Annotated[
        int, typer.Option("--workers", "-w", min=1, help="Processes or actors, a model each.")
    ] = 1,
    address: Annotated[
        str | None,
        typer.Option(
            help="Of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT; left out, one is started here."
        ),
    ] = None,
    cpus_per_worker: Annotated[
        float | None, typer.Option(min=0, help="Of an actor of Ray; left out, 1.")
    ] = None,
    gpus_per_worker: Annotated[
        float | None, typer.Option(min=0, help="Of an actor of Ray; 0.5 shares one; left out, none.")
    ] = None,
    output_format: Annotated[
        Literal["jsonl", "parquet"], typer.Option("--format", "-f", help="Of the shards.")
    ] = "jsonl",
    shard_rows: Annotated[
        int, typer.Option(min=1, help="Rows of a shard, which is done or not done after an interruption.")
    ] = 1_000,
    text_column: TextKey = "text",
    id_column: IdKey = "id",
    max_characters: Annotated[
        int, typer.Option(min=1, help="Longer texts are set aside with an error.")
    ] = 1_000_000,
    task: Annotated[
        str | None,
        typer.Option(parser=one_of((*TASKS, *CAPABILITIES)), metavar="NAME", help="As of ucuie extract."),
    ] = None,
    threshold: Threshold = None,
    end_bias: EndBias = 0.0,
    raw_scores: RawScores = False,
    window_tokens: Annotated[int | None, typer.Option(min=1, help="As of ucuie extract.")] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Of an output; a longer one is cut, and its row says so."),
    ] = None,
    model: Model = None,
    device: Device = None,
    batch_size: BatchSize = BATCH_SIZE,
    int8: Int8 = False,
    endpoint: ServedAt = None,
    endpoint_model: ServedModel = None,
    constraint: Constrained = None,
    window_characters: WindowCharacters = None,
    concurrency: Concurrency = None,
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

    on_cluster = {
        "address": address,
        "cpus_per_worker": cpus_per_worker,
        "gpus_per_worker": gpus_per_worker,
    }
    if engine == "local":
        refuse(on_cluster, "is for --engine ray")
    parsed = Schema.of(schema)
    options = answer_options(threshold=threshold, end_bias=end_bias, raw_scores=raw_scores)
    options.threshold.check(parsed)
    columns = Columns(text_column, id_column, max_characters)
    rows = Source(source, columns)
    question = Question(parsed, task_named(task, parsed), options, columns)
    talk = talk_console(quiet=quiet)
    elsewhere = {
        "endpoint_model": endpoint_model,
        "constraint": constraint,
        "window_characters": window_characters,
        "concurrency": concurrency,
    }
    here = {
        "engine": None if engine == "local" else engine,
        "workers": None if workers == 1 else workers,
        "model": model,
        "device": device,
        "int8": int8 or None,
        "window_tokens": window_tokens,
        "batch_size": None if batch_size == BATCH_SIZE else batch_size,
    }
    answering: _Answering
    if endpoint is not None:
        refuse(here, "is for a model here, not for one behind --endpoint")
        answering = _served(question, endpoint, talk, max_new_tokens=max_new_tokens, **elsewhere)
    else:
        refuse(elsewhere, "is for a model behind --endpoint, so give that too")
        job = _job(
            question,
            model,
            window_tokens=window_tokens,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            int8=int8,
            device=device,
        )
        answering = _loaded(job, workers, None if engine == "local" else on_cluster)
    manifest = Manifest(
        ucuie=__version__,
        input=rows.facts,
        asked=answering.asked,
        shard_rows=shard_rows,
        format=output_format,
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


@dataclass(frozen=True)
class _Answering:
    """Who answers the rows.

    Args:
        engine: not open yet.
        slice_rows: rows that it gets at once.
        model: what rows without an answer say was asked.
        asked: all that the content of the output depends on, but the input, as plain types.
    """

    engine: "AbstractContextManager[Engine]"
    slice_rows: int
    model: str
    asked: dict[str, Any]


def _served(question: "Question", endpoint: str, talk: Console, **options: Any) -> _Answering:
    """A model behind an endpoint."""
    from ucuie.batch.endpoint import SLICE_ROWS, EndpointEngine

    extractor = connected(endpoint, talk, **options)
    asked = {**question.asked, **extractor.asked}
    engine = EndpointEngine(extractor, question)
    return _Answering(nullcontext(engine), SLICE_ROWS, extractor.model_name, asked)


def _job(question: "Question", model: str | None, **options: Any) -> "Job":
    """What workers are told, who may have another working directory."""
    from ucuie.batch.job import Job
    from ucuie.model.source import DEFAULT, model_sha256

    named = DEFAULT if model is None else str(Path(model).resolve()) if Path(model).exists() else model
    return Job(question, named, model_sha256(named), **options)


def _loaded(job: "Job", num_workers: int, on_cluster: Mapping[str, Any] | None) -> _Answering:
    """A model in processes of this machine, or in actors of a cluster."""
    from ucuie.batch.cluster import RayEngine
    from ucuie.batch.local import LocalEngine

    if on_cluster is None:
        engine: LocalEngine | RayEngine = LocalEngine(job, num_workers=num_workers)
    else:
        given = {
            name.removesuffix("_per_worker"): value for name, value in on_cluster.items() if value is not None
        }
        engine = RayEngine(job, num_workers=num_workers, **given)
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
        left = progress.seconds_left
        words = [
            counted(progress.num_kept + progress.num_rows, "text"),
            f"{100 * progress.share:.1f} %",
            f"{progress.rows_per_second:.1f} texts/s",
        ]
        if left is not None:
            words.append(f"{timedelta(seconds=round(left))} left")
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
