"""`ucuie evaluate`, `ucuie score` and `ucuie trials`."""

import json
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
    results,
    talk_console,
)
from ucuie.cli.options import answer_flags, grouped, load_extractor, model_flags
from ucuie.errors import ConfigError, DataError
from ucuie.extract.options import AnswerOptions, ModelOptions
from ucuie.render.tables import evaluation_tables, trials_table

if TYPE_CHECKING:
    from ucuie.metrics import Report

Scorer = Annotated[str, typer.Option(help="The name of a scorer, or all.")]

_REPORT_HINT = "`ucuie evaluate --output` writes report.json, `ucuie score --output` breakdown.json"


@grouped
def evaluate(
    *,
    gold: Gold,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            file_okay=False,
            help="Folder for report.json, predictions.jsonl and breakdown.{json,txt,html}.",
        ),
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
    if as_json:
        typer.echo(json.dumps(report.to_dict(), ensure_ascii=False))
    else:
        results().print(evaluation_tables(report))
    talk.print(f"{track.summary} -> {output}; every mistake is in {output / 'breakdown.html'}")


def score(
    gold: Gold,
    predictions: Annotated[Path, typer.Option(help="JSON lines with id and records.")],
    scorer: Scorer = "offset",
    split: GoldSplit = "test",
    limit: Limit = None,
    gold_trigger: Annotated[
        bool, typer.Option("--gold-trigger", help="Leave predicted events without a gold trigger out.")
    ] = False,
    positives_only: Annotated[
        bool, typer.Option("--positives-only", help="Leave texts without gold records out.")
    ] = False,
    coarse_types: Annotated[
        Path | None, typer.Option(help="JSON file that gives frames their coarser names.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", file_okay=False, help="Folder for breakdown.{json,txt,html}."),
    ] = None,
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
        typer.echo(json.dumps(found.to_dict(), ensure_ascii=False))
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
        typer.echo(json.dumps(plain, ensure_ascii=False))
    else:
        tables = (trials_table(scorer, found).to_terminal() for scorer, found in averages.items())
        results().print(*tables, sep="\n\n")


def _read_reports(path: Path) -> "list[Report]":
    """The reports, one for each scorer, of an evaluation.

    Args:
        path: `report.json` or `breakdown.json`, or the folder of one.

    Raises:
        DataError: there is no such file, or it holds something else.
    """
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
