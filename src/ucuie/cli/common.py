"""What the commands share: options, progress, errors in words, where results and talk go."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import click
import typer
from rich.console import Console, RenderableType
from rich.text import Text
from typer.core import TyperGroup

from ucuie.errors import UcuieError, UserError, did_you_mean, needs, storage_error, visible
from ucuie.extract.result import Extraction
from ucuie.files import fetches_shown
from ucuie.render.formats import TABLE_WIDTH
from ucuie.render.tables import SafeConsole
from ucuie.schema import CAPABILITIES, SPLITS, TASKS, Split, Task
from ucuie.templates import counted

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


def flag(name: str, words: str) -> Any:
    """An option that is given or not, without a --no- of its own."""
    return typer.Option(name, help=words)


def output_folder(words: str) -> Any:
    """The option --output, a folder."""
    return typer.Option("--output", "-o", file_okay=False, help=words)


def output_file(words: str) -> Any:
    """The option --output, a file."""
    return typer.Option("--output", "-o", dir_okay=False, help=words)


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")]
Json = Annotated[bool, flag("--json", "Print JSON.")]
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
TaskName = Annotated[
    str | None,
    typer.Option(
        parser=one_of((*TASKS, *CAPABILITIES)),
        metavar="NAME",
        help="NER, RE, EE or ABSA, left out the schema's shape tells; judging for the types that occur, "
        "locating for candidate spans, associating to link the elements of the input.",
    ),
]


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
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        rate = TextColumn("{task.fields[rate]}")
        columns = (BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
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
        """The work done so far, in words."""
        truncated = f" ({self.num_truncated:,} with something missing)" if self.num_truncated else ""
        return (
            f"{counted(self.num_texts, 'text')}{truncated}, {counted(self.num_records, 'record')}, "
            f"{self.rate:.1f} texts/s"
        )


def is_one_of_several() -> bool:
    """Tell whether a launcher started this process, and others for the same work."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first_process() -> bool:
    """Tell whether this is the process that talks for all."""
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
    return SafeConsole(highlight=False, width=None if sys.stdout.isatty() else TABLE_WIDTH)


def print_json(plain: object) -> None:
    """One line of JSON on stdout."""
    typer.echo(visible(json.dumps(plain, ensure_ascii=False)))


def print_result(plain: object, shown: RenderableType, *, as_json: bool) -> None:
    """The same, as JSON or for people."""
    if as_json:
        print_json(plain)
    else:
        results().print(shown)


def talk_console(*, quiet: bool = False) -> Console:
    """Stderr."""
    return SafeConsole(stderr=True, highlight=False, markup=False, soft_wrap=True, quiet=quiet)


def _print_error(error: UcuieError) -> None:
    message = str(error)
    # "there is no file", and "config error in run.yaml" with a line for each fault.
    prefix = f"{error.kind} " if message.startswith("in ") else f"{error.kind}: "
    talk_console().print(Text(prefix, "bold red") + Text(message))


def exit_interrupted(progress: str, command: str | None) -> NoReturn:
    """Say how far it came and what goes on from there, and leave."""
    advice = "" if command is None else f"; {command} goes on from there"
    talk_console().print(f"interrupted {progress}".rstrip() + advice)
    raise typer.Exit(INTERRUPTED) from None


def is_quiet() -> bool:
    """Tell whether the command that runs is to say nothing."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.params.get("quiet"))


def refuse(given: Iterable[str], reason: str) -> None:
    """Raise where any of these options was given; they go by the names of their parameters."""
    for name in sorted(given):
        raise typer.BadParameter(reason, param_hint=f"'--{name.replace('_', '-')}'")


@contextmanager
def fetch_bar(console: Console, *, is_wanted: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Whatever is fetched inside has a bar, if the console is a terminal and it is wanted then."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("fetching the backbone"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task("", total=None)

    def show_bytes(num_bytes: int, total: int) -> None:
        if is_wanted():
            bar.start()
            bar.update(task, completed=num_bytes, total=total or None)
        if num_bytes == total:
            bar.stop()

    with fetches_shown(show_bytes):
        try:
            yield
        finally:
            bar.stop()
