"""What the commands share: options, progress, errors in words, where results and talk go."""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import click
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text
from typer.core import TyperGroup

from ucuie.errors import UcuieError, UserError, did_you_mean, needs, storage_error
from ucuie.extract.query import AnswerOptions
from ucuie.extract.result import Extraction
from ucuie.extract.thresholds import Thresholds
from ucuie.render.formats import TABLE_WIDTH
from ucuie.schema import SPLITS, TASKS, Split, Task
from ucuie.templates import counted

if TYPE_CHECKING:
    from ucuie.extract.remote import RemoteExtractor

INTERRUPTED = 130


class Commands(TyperGroup):
    """Turns errors into words and exit codes."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a mistake of the user's becomes a message and exit code 2, other errors 1.

        Ctrl-C where the command itself does not listen for it ends with 130.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # Of several processes their launcher speaks.
            if is_one_of_several():
                raise typer.Exit(INTERRUPTED) from None
            exit_interrupted("", None)
        # Of any class: libraries have their own for a full disk.
        except Exception as error:
            said = error if isinstance(error, UcuieError) else storage_error(error)
            if said is None:
                raise
            # The processes of one machine see the same files and make the same mistake.
            if not isinstance(said, UserError) or os.environ.get("LOCAL_RANK", "0") == "0":
                _print_error(said)
            raise typer.Exit(2 if isinstance(said, UserError) else 1) from None


def one_of(choices: Sequence[str]) -> Any:
    """A reader of an option's value that names the choices, and the nearest one."""

    def read(value: str) -> str:
        if value in choices:
            return value
        raise typer.BadParameter(f"{value!r} is not known{did_you_mean(value, choices)}")

    return read


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Model folder, GGUF file or hub id; left out, the default."),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ...; left out, a GPU if there is one.")]
Threshold = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        metavar="[NAME=]NUMBER",
        help="Least score: 0.5, or person=0.7 for one type; repeatable. Left out, the model's own; 0 keeps "
        "everything.",
    ),
]
EndBias = Annotated[
    float,
    typer.Option(
        "--end-bias", help="Above 0 for more recall, below 0 for more precision; added to the model's own."
    ),
]
RawScores = Annotated[
    bool,
    typer.Option(
        "--raw-scores",
        help="Leave scores as the model gives them, without calibration or the model's threshold.",
    ),
]
TextKey = Annotated[str, typer.Option(help="Key or column of the text.")]
IdKey = Annotated[str, typer.Option(help="Key or column of the id.")]
Gold = Annotated[Path, typer.Option("--data", help="Unified JSONL, or a folder that convert wrote.")]
GoldSplit = Annotated[
    Split, typer.Option(parser=one_of(SPLITS), metavar="NAME", help="Which split of a folder.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many examples of each data set.")]
AnnotatedFor = Annotated[
    Task,
    typer.Option(parser=one_of(TASKS), metavar="NAME", help="What the files of a format are annotated for."),
]
BATCH_SIZE = 32
BatchSize = Annotated[int, typer.Option(min=1, help="Texts per forward pass.")]
Int8 = Annotated[bool, typer.Option("--int8", help="Round large products to 8 bits: faster on a CPU.")]
ServedAt = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="Ask an OpenAI-compatible server, such as http://localhost:8000/v1, instead of a model here; "
        "its key, if it wants one, is taken from the environment: UCUIE_ENDPOINT_KEY or OPENAI_API_KEY.",
    ),
]
ServedModel = Annotated[
    str | None,
    typer.Option("--endpoint-model", metavar="NAME", help="The model, as the endpoint calls it."),
]
Constrained = Annotated[
    str | None,
    typer.Option(
        "--constraint",
        metavar="NAME",
        help="What the endpoint has to hold answers to: grammar, json-schema or none; left out, or auto, the "
        "first of these that it obeys.",
    ),
]
WindowCharacters = Annotated[
    int | None,
    typer.Option(min=1, help="Longer texts are sent to the endpoint in windows of so many characters."),
]
Concurrency = Annotated[
    int | None, typer.Option(min=1, help="Requests to the endpoint at the same time, at most.")
]


def answer_options(
    *,
    threshold: Sequence[str] | None,
    end_bias: float,
    raw_scores: bool,
    explain: bool = False,
    n_best: int = 1,
) -> AnswerOptions:
    """The options of a command line.

    Raises:
        ConfigError: one of them is impossible.
    """
    options = AnswerOptions.of(end_bias=end_bias, raw_scores=raw_scores, explain=explain, n_best=n_best)
    return replace(options, threshold=Thresholds.parse(threshold or ()))


class Track:
    """Passes extractions on, with a bar, the rate and the time left on stderr."""

    def __init__(self, talk: Console, *, is_shown: bool) -> None:
        self.talk = talk
        self.is_shown = is_shown and talk.is_terminal
        self.num_texts = 0
        self.num_records = 0
        self.num_truncated = 0
        self.start = time.perf_counter()

    def __call__(self, extractions: Iterable[Extraction], total: int) -> Iterator[Extraction]:
        """The same extractions; `total` is how many there will be."""
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.talk, transient=True, disable=not self.is_shown) as bar:
            task = bar.add_task("", total=total, rate="")
            for extraction in extractions:
                self.num_texts += 1
                self.num_records += len(extraction.records)
                self.num_truncated += extraction.truncated
                bar.update(task, advance=1, rate=f"{self.rate:.1f} texts/s")
                yield extraction

    @property
    def rate(self) -> float:
        """Texts per second so far."""
        return self.num_texts / max(time.perf_counter() - self.start, 1e-9)

    @property
    def summary(self) -> str:
        """What was done so far."""
        truncated = f" ({self.num_truncated:,} with something missing)" if self.num_truncated else ""
        return (
            f"{counted(self.num_texts, 'text')}{truncated}, {counted(self.num_records, 'record')}, "
            f"{self.rate:.1f} texts/s"
        )


def is_one_of_several() -> bool:
    """Whether a launcher started this process, and others for the same work."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first_process() -> bool:
    """Whether this is the process that talks for all."""
    return os.environ.get("RANK", "0") == "0"


def require_serve_extra() -> None:
    """Say what to install where the packages of the server are missing.

    Raises:
        MissingExtraError: one of them is.
    """
    for package in ("fastapi", "prometheus_client", "uvicorn"):
        needs(package, "serve")


def results() -> Console:
    """Stdout; not wrapped where no one looks at it."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else TABLE_WIDTH)


def talk_console(*, quiet: bool = False) -> Console:
    """Stderr."""
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True, quiet=quiet)


def _print_error(error: UcuieError) -> None:
    message = str(error)
    # "config error: there is no file", and "config error in run.yaml" with a line for each fault.
    prefix = f"{error.kind} " if message.startswith("in ") else f"{error.kind}: "
    talk_console().print(Text(prefix, "bold red") + Text(message))


def exit_interrupted(progress: str, command: str | None) -> NoReturn:
    """Say how far it came and what goes on from there, and leave."""
    advice = "" if command is None else f"; {command} goes on from there"
    talk_console().print(f"interrupted {progress}".rstrip() + advice)
    raise typer.Exit(INTERRUPTED) from None


def is_quiet() -> bool:
    """Whether the command that runs is to say nothing."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.params.get("quiet"))


def refuse(given: Mapping[str, object], reason: str) -> None:
    """Raise where any of these options, by the names of their parameters, is not None."""
    for name, value in given.items():
        if value is not None:
            raise typer.BadParameter(reason, param_hint=f"'--{name.replace('_', '-')}'")


def connected(
    endpoint: str, talk: Console, *, endpoint_model: str | None, **options: Any
) -> "RemoteExtractor":
    """What asks an endpoint, once it has told what it obeys; options that are None are left to it."""
    from ucuie.extract.remote import RemoteExtractor

    if endpoint_model is None:
        raise typer.BadParameter("the endpoint has to be told which model", param_hint="'--endpoint-model'")
    names = {"concurrency": "num_concurrent"}
    given = {names.get(name, name): value for name, value in options.items() if value is not None}
    extractor = RemoteExtractor(endpoint, endpoint_model, **given)
    with talk.status(Text(f"asking {endpoint_model} what its answers can be held to")):
        found = extractor.connect()
    talk.print(f"answers of {endpoint_model} are held to: {found}")
    return extractor
