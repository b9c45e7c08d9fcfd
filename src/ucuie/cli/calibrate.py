"""`ucuie calibrate`."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ucuie.cli.common import (
    Gold,
    GoldSplit,
    Json,
    Limit,
    Quiet,
    Track,
    exit_interrupted,
    results,
    talk_console,
)
from ucuie.cli.options import grouped, load_extractor, model_flags
from ucuie.errors import needs
from ucuie.extract.options import ModelOptions
from ucuie.extract.result import Extraction
from ucuie.model.operating_point import END_BIASES
from ucuie.render.tables import calibration_tables
from ucuie.templates import counted

_END_BIASES = ",".join(f"{bias:g}" for bias in END_BIASES)


def _numbers(listed: str) -> list[float]:
    """The numbers between the commas."""
    try:
        numbers = [float(number) for number in listed.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(map(math.isfinite, numbers)):
        raise typer.BadParameter(f"{listed!r} is no list of numbers, such as {_END_BIASES}")
    return numbers


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
    typer.Option(
        "--keep-point",
        help="Calibrate scores only, in one pass: the model's end bias and threshold stay as they are.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", file_okay=False, help="A new folder for a calibrated copy of the model."),
]
Plot = Annotated[Path | None, typer.Option(dir_okay=False, help="SVG file for the reliability diagram.")]


@grouped
def calibrate(
    *,
    gold: Gold,
    split: GoldSplit = "validation",
    limit: Limit = None,
    end_biases: EndBiases = _END_BIASES,
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
    if as_json:
        typer.echo(json.dumps(report.to_dict(), ensure_ascii=False))
    else:
        results().print(calibration_tables(report))
    talk.print(f"{track.summary} -> {folder}")
