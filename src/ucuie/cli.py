"""The command `ucuie`: arguments in, results on stdout, talk on stderr. All work is done elsewhere.

Exit codes: 0 all right, 2 the user's mistake, 130 interrupted, 1 anything else. What loads torch is imported
where it is used, so `--help` and mistakes in a schema are answered at once.
"""

import json
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from ucuie import __version__
from ucuie.data.tokens import Spacing
from ucuie.errors import (
    ConfigError,
    DataError,
    ModelError,
    SchemaError,
    TextError,
    UserError,
    did_you_mean,
    show,
)
from ucuie.extraction import Extraction
from ucuie.render import FORMATS, TABLE_WIDTH, Format, render
from ucuie.schema import TASKS, Schema, Split, Task
from ucuie.tables import (
    catalogue_table,
    conversion_table,
    counted,
    evaluation_tables,
    extraction_table,
    format_table,
    statistics_table,
)

INTERRUPTED = 130
SPLITS: tuple[Split, ...] = get_args(Split)
SPACINGS: tuple[Spacing, ...] = get_args(Spacing)

_KINDS: dict[type[UserError], str] = {
    ConfigError: "config error",
    DataError: "data error",
    ModelError: "model error",
    SchemaError: "schema error",
    TextError: "text error",
}


class _Commands(TyperGroup):
    """Turns errors into words and exit codes."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            _print_error(error)
            raise typer.Exit(2) from None


app = typer.Typer(cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False)
bench_app = typer.Typer(no_args_is_help=True, help="Measure performance, side by side.")
app.add_typer(bench_app, name="bench")
data_app = typer.Typer(no_args_is_help=True, help="Look at converted data, and cut it into trials.")
app.add_typer(data_app, name="data")


def main() -> None:
    """The entry point of the command."""
    app()


def _one_of(choices: Sequence[str]) -> Any:
    """A reader of an option's value that names the choices, and the nearest one."""

    def read(value: str) -> str:
        if value in choices:
            return value
        raise typer.BadParameter(f"{value!r} is not known{did_you_mean(value, choices)}")

    return read


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"ucuie {__version__}")
        raise typer.Exit


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Model = Annotated[
    str | None, typer.Option("--model", "-m", help="Model folder or hub id; left out, the embedded model.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ...; left out, a GPU if there is one.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Texts per forward pass.")]


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Typed, source-grounded information extraction with one model and one schema language."""


@app.command()
def extract(
    schema: Annotated[
        str,
        typer.Option("--schema", "-s", help="YAML or JSON file, or JSON itself, such as a list of names."),
    ],
    text: Annotated[str | None, typer.Option("--text", "-t", help="The text itself.")] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--input", "-i", help="JSONL with text and id, .txt with a text on each line, or - for stdin."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File instead of stdout; appears when it is whole.")
    ] = None,
    output_format: Annotated[
        Format,
        typer.Option("--format", "-f", parser=_one_of(FORMATS), metavar="NAME", help="jsonl, table or html."),
    ] = "jsonl",
    task: Annotated[
        Task | None,
        typer.Option(
            parser=_one_of(TASKS),
            metavar="NAME",
            help="NER, RE, EE or ABSA; left out, the schema's shape tells.",
        ),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave bad lines out and list them in NAME.rejected.jsonl.")
    ] = False,
    model: Model = None,
    device: Device = None,
    batch_size: BatchSize = 32,
    quiet: Quiet = False,
) -> None:
    """Extract records from texts."""
    if (text is None) == (source is None):
        raise typer.BadParameter("give one of the two", param_hint="'--text' / '--input'")
    parsed = Schema.of(schema)
    from ucuie.texts import read_texts

    file = None if source is None else read_texts(source)
    from ucuie import bulk
    from ucuie.extractor import Extractor, Query

    talk = _talk(quiet=quiet)
    extractor = Extractor.from_pretrained(model, device=device, batch_size=batch_size)
    if file is None:
        queries = [Query("1", text or "", parsed, task or parsed.task)]
    else:
        rejected = bulk.rejected_path(file, output)
        queries = bulk.usable_queries(
            file, extractor, parsed, task=task, rejected=rejected if skip_bad else None
        )
        if num_bad := len(file.lines) - len(queries):
            talk.print(f"left out {counted(num_bad, 'bad line')}, listed in {rejected}")
    # A bar and results would write over each other on one terminal.
    track = _Track(talk, is_shown=file is not None and (output is not None or not sys.stdout.isatty()))
    try:
        if output is None:
            _print_extractions(track(extractor.answer(queries), len(queries)), output_format)
        else:
            bulk.answer_to_file(extractor, queries, output, output_format=output_format, progress=track)
            talk.print(f"{track.summary} -> {output}")
    except KeyboardInterrupt:
        _exit_interrupted(f"after {track.summary}", None if output is None else "the same command")


@app.command()
def convert(
    name: Annotated[str | None, typer.Argument(help="A data set of the catalogue, or a format.")] = None,
    source: Annotated[Path | None, typer.Option("--source", help="Folder with the raw files.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder to write into.")] = None,
    task: Annotated[
        Task,
        typer.Option(
            parser=_one_of(TASKS), metavar="NAME", help="What the files of a format are annotated for."
        ),
    ] = "NER",
    spacing: Annotated[
        Spacing | None,
        typer.Option(
            parser=_one_of(SPACINGS),
            metavar="NAME",
            help="natural, tight, blank or none: how tokens are joined; left out, the data set's own way.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first fault instead of listing it.")
    ] = False,
    list_all: Annotated[bool, typer.Option("--list", help="List the data sets and formats.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert a raw corpus into unified JSONL: train, validation and test."""
    from ucuie import data

    if list_all:
        if as_json:
            rows = [dataset.model_dump(mode="json") for dataset in data.catalogue().values()]
            typer.echo(json.dumps({"datasets": rows, "formats": list(data.FORMATS)}, ensure_ascii=False))
        else:
            _results().print(catalogue_table(data.catalogue().values()), "", format_table(data.FORMATS))
        return
    if name is None or source is None or output is None:
        raise typer.BadParameter(
            "give a data set or format, --source and --output; --list shows the names", param_hint="NAME"
        )
    names = (*data.catalogue(), *data.FORMATS)
    if name not in names:
        raise ConfigError(f"no data set or format {show(name)}{did_you_mean(name, names)}")
    if name in data.FORMATS:
        report = data.convert_format(
            name, source, output, task=task, spacing=spacing or "natural", strict=strict
        )
    else:
        report = data.convert(name, source, output, spacing=spacing, strict=strict)
    if as_json:
        typer.echo(report.model_dump_json())
    _talk(quiet=quiet).print(conversion_table(report))


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="The YAML file of the run.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="a.b=1 sets a key of the configuration; repeatable.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of an interrupted run.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train a model in two stages."""
    from ucuie.train.config import TrainConfig

    run = TrainConfig.load(config, overrides=overrides or [])
    from ucuie.train.run import run_training

    try:
        folder = run_training(run, resume=resume)
    except KeyboardInterrupt:
        again = ["ucuie", "train", str(config), *(f"--set={override}" for override in overrides or [])]
        _exit_interrupted("", shlex.join([*again, "--resume"]))
    _talk(quiet=quiet).print(
        f"wrote {folder}\nnext: ucuie evaluate --model {folder} --data FILE --output DIR"
    )


@app.command()
def evaluate(
    gold: Annotated[Path, typer.Option("--data", help="Unified JSONL, or a folder that convert wrote.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for report.json and predictions.jsonl.")
    ],
    scorer: Annotated[str, typer.Option(help="The name of a scorer, or all.")] = "offset",
    split: Annotated[
        Split, typer.Option(parser=_one_of(SPLITS), metavar="NAME", help="Which split of a folder.")
    ] = "test",
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many examples of each data set.")
    ] = None,
    model: Model = None,
    device: Device = None,
    batch_size: BatchSize = 32,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a model on gold data."""
    from ucuie import evaluate as evaluation

    evaluation.scorer_names(scorer)
    examples = evaluation.read_gold(gold, split=split, limit=limit)
    from ucuie.extractor import Extractor

    talk = _talk(quiet=quiet)
    extractor = Extractor.from_pretrained(model, device=device, batch_size=batch_size)
    track = _Track(talk, is_shown=True)
    try:
        report = evaluation.evaluate(extractor, examples, output, scorer=scorer, progress=track)
    except KeyboardInterrupt:
        _exit_interrupted(f"after {track.summary}", "the same command")
    if as_json:
        typer.echo(json.dumps(report.to_dict(), ensure_ascii=False))
    else:
        _results().print(evaluation_tables(report))
    talk.print(f"{track.summary} -> {output}")


@app.command()
def score(
    gold: Annotated[Path, typer.Option("--data", help="Unified JSONL, or a folder that convert wrote.")],
    predictions: Annotated[Path, typer.Option(help="JSON lines with id and records.")],
    scorer: Annotated[str, typer.Option(help="The name of a scorer.")] = "offset",
    split: Annotated[
        Split, typer.Option(parser=_one_of(SPLITS), metavar="NAME", help="Which split of a folder.")
    ] = "test",
    gold_trigger: Annotated[
        bool, typer.Option("--gold-trigger", help="Count events under gold triggers only.")
    ] = False,
    positives_only: Annotated[
        bool, typer.Option("--positives-only", help="Leave texts without gold records out.")
    ] = False,
    coarse_types: Annotated[
        Path | None, typer.Option(help="JSON file that gives frames their coarser names.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for breakdown.json and breakdown.html.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score predictions that are there already: labels, confidence intervals, every mistake."""
    from ucuie import data, metrics
    from ucuie.atomic import write_text

    examples = list(data.read_examples(gold, split=split if gold.is_dir() else None))
    predicted = data.read_predictions(predictions, examples)
    views: list[metrics.View] = []
    if coarse_types is not None:
        views.append(metrics.coarse_types(data.read_types(coarse_types)))
    views += [metrics.gold_trigger] * gold_trigger + [metrics.positives_only] * positives_only
    found = metrics.break_down(*metrics.apply_views(examples, predicted, views), scorer=scorer)
    content = json.dumps(found.to_dict(), indent=1, ensure_ascii=False) + "\n"
    if output is not None:
        write_text(output / "breakdown.json", content)
        write_text(output / "breakdown.html", metrics.render_page(found, title=gold.name))
    typer.echo(content if as_json else metrics.render_text(found), nl=False)


@data_app.command("stats")
def data_stats(
    folder: Annotated[Path, typer.Argument(help="A folder that convert wrote.")],
    plot: Annotated[Path | None, typer.Option(help="Draw labels and lengths into this SVG file.")] = None,
    as_json: Json = False,
) -> None:
    """Count examples, labels, lengths, and texts that stand in two splits."""
    from ucuie import data
    from ucuie.atomic import write_text

    found = data.stats(folder)
    if plot is not None:
        write_text(plot, data.statistics_plot(found, title=folder.name))
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        _results().print(statistics_table(found))


@data_app.command("low-resource")
def data_low_resource(
    folder: Annotated[Path, typer.Argument(help="A folder that convert wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write into.")],
    percent: Annotated[float, typer.Option(help="Of the shuffled training split, rounded up.")],
    seed: Annotated[int, typer.Option(help="Of the shuffling.")] = 0,
) -> None:
    """Write a part of a training split, and the other splits whole."""
    from ucuie import data

    count = data.write_low_resource(folder, output, percent=percent, seed=seed)
    _talk().print(f"{counted(count, 'training example')} -> {output}")


@data_app.command("zero-shot")
def data_zero_shot(
    folder: Annotated[Path, typer.Argument(help="FewRel or Wiki-ZSL as convert wrote it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write into.")],
) -> None:
    """Write a folder for each selection of unseen labels of a zero-shot set."""
    from ucuie import data

    sizes = data.write_zero_shot_folds(folder, output)
    _talk().print(f"{counted(len(sizes), 'selection')} of {', '.join(map(str, sizes))} texts -> {output}")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Tell what works on this machine, in words."""
    from ucuie.doctor import examine

    colours = {"ok": "green", "note": "yellow", "broken": "red"}
    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json:
            line = Text(f"{finding.state:<7}", colours[finding.state]) + Text(f"{finding.subject:<13}")
            _results().print(line + Text(finding.words), soft_wrap=True)
    if as_json:
        typer.echo(json.dumps([vars(finding) for finding in findings], ensure_ascii=False))
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)


@bench_app.command("adapter")
def bench_adapter(
    hidden: Annotated[int, typer.Option(min=64, help="Width of the random backbone.")] = 512,
    layers: Annotated[int, typer.Option(min=1)] = 8,
    batch: Annotated[int, typer.Option(min=1, help="Rows of a training step.")] = 8,
    length: Annotated[int, typer.Option(min=8, help="Tokens of a row.")] = 256,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; medians are taken over them.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    as_json: Json = False,
) -> None:
    """Compare the adapter with LoRA, a loop over the experts and the bare backbone."""
    from ucuie.bench.adapter import bench_adapter as measure

    result = measure(
        hidden=hidden, layers=layers, batch=batch, length=length, repeats=repeats, num_threads=threads
    )
    if as_json:
        typer.echo(json.dumps(result))
        return
    table = Table.grid(padding=(0, 3, 0, 0))
    for name, value in result.items():
        if isinstance(value, int | float):
            table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else f"{value:.2f}")
    _results().print(table)


class _Track:
    """Passes extractions on, with a bar, the rate and the time left on stderr."""

    def __init__(self, talk: Console, *, is_shown: bool) -> None:
        self.talk = talk
        self.is_shown = is_shown and talk.is_terminal
        self.num_texts = 0
        self.num_records = 0
        self.start = time.perf_counter()

    def __call__(self, extractions: Iterable[Extraction], total: int) -> Iterator[Extraction]:
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
                bar.update(task, advance=1, rate=f"{self.rate:.1f} texts/s")
                yield extraction

    @property
    def rate(self) -> float:
        """Texts per second so far."""
        return self.num_texts / max(time.perf_counter() - self.start, 1e-9)

    @property
    def summary(self) -> str:
        """What was done so far."""
        return (
            f"{counted(self.num_texts, 'text')}, {counted(self.num_records, 'record')}, "
            f"{self.rate:.1f} texts/s"
        )


def _results() -> Console:
    """Stdout; not wrapped where no one looks at it."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else TABLE_WIDTH)


def _talk(*, quiet: bool = False) -> Console:
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True, quiet=quiet)


def _print_extractions(extractions: Iterable[Extraction], output_format: Format) -> None:
    """Each as soon as it is there, where the format allows."""
    if output_format == "html":
        typer.echo(render(list(extractions), "html"), nl=False)
        return
    console = _results()
    for extraction in extractions:
        if output_format == "table":
            console.print(extraction_table(extraction))
        else:
            typer.echo(extraction.to_json())


def _print_error(error: UserError) -> None:
    kind = next((name for cls, name in _KINDS.items() if isinstance(error, cls)), "error")
    message = str(error)
    prefix = "" if message.startswith(f"{kind}") else f"{kind}: "
    _talk().print(Text(prefix, "bold red") + Text(message))


def _exit_interrupted(progress: str, command: str | None) -> NoReturn:
    advice = "" if command is None else f"; {command} goes on from there"
    _talk().print(f"interrupted {progress}".rstrip() + advice)
    raise typer.Exit(INTERRUPTED)
