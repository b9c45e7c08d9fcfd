"""`ucuie batch`."""

import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from ucuie import __version__
from ucuie.cli.common import (
    BatchSize,
    Device,
    EndBias,
    IdKey,
    Int8,
    Model,
    Quiet,
    RawScores,
    TextKey,
    Threshold,
    answer_options,
    exit_interrupted,
    one_of,
    talk_console,
)
from ucuie.schema import CAPABILITIES, TASKS, Schema
from ucuie.templates import counted

if TYPE_CHECKING:
    from ucuie.batch.run import BatchReport, Progress

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
    cpus_per_worker: Annotated[float, typer.Option(min=0, help="Of an actor of Ray.")] = 1,
    gpus_per_worker: Annotated[float, typer.Option(min=0, help="Of an actor of Ray; 0.5 shares one.")] = 0,
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
    batch_size: BatchSize = 32,
    int8: Int8 = False,
    quiet: Quiet = False,
) -> None:
    """Extract from any number of texts, with several processes or machines; an interrupted run goes on.

    Every row of the input is one row of the output, in the same order; a text without an answer has an error
    there, and is listed in the folder rejected.
    """
    from ucuie.batch.cluster import RayEngine
    from ucuie.batch.job import Job
    from ucuie.batch.local import LocalEngine
    from ucuie.batch.output import Manifest, OutputFolder
    from ucuie.batch.rows import Columns
    from ucuie.batch.run import Batch, run_batch
    from ucuie.batch.sources import Source
    from ucuie.model_source import EMBEDDED, model_sha256

    if engine == "local" and address is not None:
        raise typer.BadParameter("is for --engine ray", param_hint="'--address'")
    parsed = Schema.of(schema)
    options = answer_options(threshold=threshold, end_bias=end_bias, raw_scores=raw_scores)
    options.threshold.check(parsed)
    columns = Columns(text_column, id_column, max_characters)
    rows = Source(source, columns)
    # Workers may have another working directory.
    named = EMBEDDED if model is None else str(Path(model).resolve()) if Path(model).is_dir() else model
    job = Job(
        parsed,
        task or parsed.task,  # type: ignore[arg-type]  # one of those the option knows
        named,
        model_sha256(named),
        options,
        window_tokens=window_tokens,
        max_new_tokens=max_new_tokens,
        columns=columns,
        batch_size=batch_size,
        int8=int8,
        device=device,
    )
    manifest = Manifest(
        ucuie=__version__, input=rows.facts, asked=job.asked, shard_rows=shard_rows, format=output_format
    )
    talk = talk_console(quiet=quiet)
    if rows.num_left_out:
        talk.print(f"left out {counted(rows.num_left_out, 'file')} of other kinds")
    try:
        with OutputFolder(output, manifest) as folder:
            workers_of: LocalEngine | RayEngine = (
                LocalEngine(job, num_workers=workers)
                if engine == "local"
                else RayEngine(
                    job, num_workers=workers, address=address, cpus=cpus_per_worker, gpus=gpus_per_worker
                )
            )
            with workers_of as started:
                report = run_batch(
                    Batch(rows, folder, started, shard_rows, job.slice_rows, named), _Watcher(talk)
                )
    except KeyboardInterrupt:
        exit_interrupted("", "the same command")
    talk.print(_summary(report, output))


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
