"""`ucuie calibrate`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ucuie.cli.common import (
    BatchSize,
    Device,
    Gold,
    GoldSplit,
    Json,
    Limit,
    Model,
    Quiet,
    Track,
    exit_interrupted,
    results,
    talk_console,
)
from ucuie.tables import calibration_tables


def calibrate(
    gold: Gold,
    split: GoldSplit = "validation",
    limit: Limit = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", file_okay=False, help="A new folder for a calibrated copy of the model."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(dir_okay=False, help="SVG file for the reliability diagram.")
    ] = None,
    model: Model = None,
    device: Device = None,
    batch_size: BatchSize = 32,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a model's scores mean how often it is right, on data that it was not trained on."""
    from ucuie.data import read_gold

    examples = read_gold(gold, split=split, limit=limit)
    from ucuie import calibrate as calibration
    from ucuie.atomic import write_text
    from ucuie.extractor import Extractor
    from ucuie.model_saving import calibration_target, record_calibration
    from ucuie.model_source import DEFAULT

    source = DEFAULT if model is None else model
    calibration_target(source, output)
    talk = talk_console(quiet=quiet)
    extractor = Extractor.from_pretrained(model, device=device, batch_size=batch_size)
    track = Track(talk, is_shown=True)
    try:
        report = calibration.calibrate(extractor, examples, progress=track)
    except KeyboardInterrupt:
        exit_interrupted(f"after {track.summary}; the model is as it was", None)
    # The plot first: once there is a calibrated copy, the same command would refuse to make another.
    if plot is not None:
        write_text(plot, calibration.reliability_plot(report))
    folder = record_calibration(source, report.calibration, output=output)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), ensure_ascii=False))
    else:
        results().print(calibration_tables(report))
    talk.print(f"{track.summary} -> {folder}")
