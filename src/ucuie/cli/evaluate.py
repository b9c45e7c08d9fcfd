"""`ucuie evaluate`, `ucuie score`, `ucuie trials` and `ucuie calibrate`."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ucuie.cli.common import (
    Gold,
    GoldSplit,
    Json,
    Limit,
    Quiet,
    Track,
    exit_interrupted,
    flag,
    output_folder,
    print_json,
    print_result,
    results,
    talk_console,
)
from ucuie.cli.options import answer_flags, grouped, load_extractor, model_flags
from ucuie.errors import ConfigError, DataError, needs
from ucuie.extract.options import AnswerOptions, ModelOptions
from ucuie.extract.result import Extraction
from ucuie.model.operating_point import END_BIASES
from ucuie.render.tables import calibration_tables, evaluation_tables, trials_table
from ucuie.templates import counted

if TYPE_CHECKING:
    from ucuie.metrics import Report

Scorer = Annotated[str, typer.Option(help="The name of a scorer, or all.")]
EndBiases = Annotated[
    str,
    typer.Option(
        metavar="NUMBER,NUMBER",
        help="Biases on ending to choose from, 0 in any case. Each is a pass over all texts, and passes "
        "are nearly all the time it takes.",
    ),
]
KeepPoint = Annotated[
    bool,
    flag(
        "--keep-point",
        "Calibrate scores only, in one pass: the model's end bias and threshold stay as they are.",
    ),
]
Output = Annotated[Path | None, output_folder("A new folder for a calibrated copy of the model.")]
Plot = Annotated[Path | None, typer.Option(dir_okay=False, help="SVG file for the reliability diagram.")]

_DEFAULT_BIASES = ",".join(map("{:g}".format, END_BIASES))
_REPORT_HINT = "`ucuie evaluate --output` writes report.json, `ucuie score --output` breakdown.json"


@grouped
def evaluate(
    *,
    gold: Gold,
    output: Annotated[
        Path, output_folder("Folder for report.json, predictions.jsonl and breakdown.{json,txt,html}.")
    ],
    scorer: Scorer = "offset",
    split: GoldSplit = "test",
    limit: Limit = None,
    answer: Annotated[AnswerOptions, answer_flags("threshold", "end_bias")],
    model: Annotated[ModelOptions, model_flags("model", "device", "batch_size", "int8")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a model on gold data, with its own threshold and end bias unless others are given.

    `ucuie score` looks at its predictions in other ways.
    """
    from ucuie import data, metrics
    from ucuie.evaluation import evaluate as evaluation

    metrics.scorer_names(scorer)
    examples = data.read_gold(gold, split=split, limit=limit)
    talk = talk_console(quiet=quiet)
    extractor = load_extractor(model)
    track = Track(talk, is_shown=True)
    try:
        report = evaluation.evaluate(
            extractor, examples, output, scorer=scorer, options=answer, progress=track
        )
    except KeyboardInterrupt:
        exit_interrupted(f"after {track.summary}", "the same command")
    print_result(report.to_dict(), evaluation_tables(report), as_json=as_json)
    talk.print(f"{track.summary} -> {output}; every mistake is in {output / 'breakdown.html'}")


def score(
    gold: Gold,
    predictions: Annotated[Path, typer.Option(help="JSON lines with id and records.")],
    scorer: Scorer = "offset",
    split: GoldSplit = "test",
    limit: Limit = None,
    gold_trigger: Annotated[
        bool, flag("--gold-trigger", "Leave predicted events without a gold trigger out.")
    ] = False,
    positives_only: Annotated[
        bool, flag("--positives-only", "Leave texts without gold records out.")
    ] = False,
    coarse_types: Annotated[
        Path | None, typer.Option(help="JSON file that gives frames their coarser names.")
    ] = None,
    output: Annotated[Path | None, output_folder("Folder for breakdown.{json,txt,html}.")] = None,
    as_json: Json = False,
) -> None:
    """Score predictions that are there already: labels, confidence intervals, every mistake."""
    from ucuie import data, metrics

    scorers = metrics.scorer_names(scorer)
    examples = data.read_gold(gold, split=split, limit=limit)
    predicted = data.read_predictions(predictions, examples)
    views: list[metrics.View] = []
    if coarse_types is not None:
        views.append(metrics.coarse_types(data.read_types(coarse_types)))
    views += [metrics.gold_trigger] * gold_trigger + [metrics.positives_only] * positives_only
    found = metrics.break_down(*metrics.apply_views(examples, predicted, views), scorers=scorers)
    if output is not None:
        metrics.write_breakdown(found, output, title=gold.name)
    if as_json:
        print_json(found.to_dict())
    else:
        typer.echo(metrics.render_text(found), nl=False)


def trials(
    reports: Annotated[
        list[Path], typer.Argument(help="report.json or breakdown.json of each trial, or their folders.")
    ],
    as_json: Json = False,
) -> None:
    """Average the scores of several trials: mean and standard deviation."""
    from ucuie import metrics

    by_scorer: dict[str, list[metrics.Report]] = {}
    for path in reports:
        for report in _read_reports(path):
            by_scorer.setdefault(report.scorer, []).append(report)
    incomplete = [scorer for scorer, found in by_scorer.items() if len(found) < len(reports)]
    if incomplete:
        raise ConfigError(f"not every trial was scored by {', '.join(incomplete)}")
    try:
        averages = {scorer: metrics.over_trials(found) for scorer, found in by_scorer.items()}
    except ValueError as error:
        raise ConfigError(f"the trials cannot be averaged: {error}") from None
    if as_json:
        plain = {
            scorer: [asdict(one) | {"mean": one.mean, "deviation": one.deviation} for one in found]
            for scorer, found in averages.items()
        }
        print_json(plain)
    else:
        tables = (trials_table(scorer, found).to_terminal() for scorer, found in averages.items())
        results().print(*tables, sep="\n\n")


def _read_reports(path: Path) -> "list[Report]":
    """The reports, one for each scorer, of a `report.json` or `breakdown.json`, or of the folder of one."""
    from ucuie.data.sources import read_json
    from ucuie.metrics import Report

    files = [path / name for name in ("report.json", "breakdown.json")] if path.is_dir() else [path]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise DataError(str(path), ["there is no report in it"], _REPORT_HINT)
    try:
        return [Report.from_dict(plain) for plain in read_json(file)["scores"]]
    except (LookupError, TypeError, AttributeError):
        raise DataError(str(file), ["it holds no scores"], _REPORT_HINT) from None


@grouped
def calibrate(
    *,
    gold: Gold,
    split: GoldSplit = "validation",
    limit: Limit = None,
    end_biases: EndBiases = _DEFAULT_BIASES,
    keep_point: KeepPoint = False,
    output: Output = None,
    plot: Plot = None,
    model: Annotated[ModelOptions, model_flags("model", "device", "batch_size")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a model's scores mean how often it is right, on data that it was not trained on.

    It also chooses the bias on ending and the threshold with the best mean F1 over data sets, which the model
    is used with from then on. For that every text is read once under each bias; with --keep-point only once.
    """
    biases = [] if keep_point else _numbers(end_biases)
    from ucuie.data import read_gold

    examples = read_gold(gold, split=split, limit=limit)
    from ucuie.evaluation import calibrate as calibration
    from ucuie.files import write_text
    from ucuie.model.saving import calibration_target, record_calibration
    from ucuie.model.source import DEFAULT
    from ucuie.render.plots import EXTRA, reliability_plot

    if plot is not None:
        # Before all the work.
        needs("matplotlib", EXTRA)
    source = model.model or DEFAULT
    calibration_target(source, output)
    talk = talk_console(quiet=quiet)
    extractor = load_extractor(model)
    track = Track(talk, is_shown=True)
    tested = calibration.tested_biases(biases)
    if tested:
        passes = ", ".join(f"{bias:g}" for bias in tested)
        talk.print(
            f"{len(tested)} passes over {counted(len(examples), 'text')}, one for each end bias: {passes}"
        )

    def progress(extractions: Iterator[Extraction], total: int) -> Iterator[Extraction]:
        yield from track(extractions, total)
        talk.print("choosing and fitting" if tested else "fitting")

    try:
        report = calibration.calibrate(extractor, examples, end_biases=biases, progress=progress)
    except KeyboardInterrupt:
        exit_interrupted(f"after {track.summary}; the model is as it was", None)
    # The plot first: once there is a calibrated copy, the same command would refuse to make another.
    if plot is not None:
        write_text(plot, reliability_plot(report))
    folder = record_calibration(source, report.calibration, point=report.point, output=output)
    print_result(report.to_dict(), calibration_tables(report), as_json=as_json)
    talk.print(f"{track.summary} -> {folder}")


def _numbers(listed: str) -> list[float]:
    try:
        numbers = [float(number) for number in listed.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(map(math.isfinite, numbers)):
        raise typer.BadParameter(f"{listed!r} is no list of numbers, such as {_DEFAULT_BIASES}")
    return numbers
