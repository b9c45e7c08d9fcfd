"""`ucuie evaluate` and `ucuie score`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ucuie.cli.common import (
    SPLITS,
    BatchSize,
    Device,
    Json,
    Model,
    Quiet,
    Track,
    exit_interrupted,
    one_of,
    results,
    talk_console,
)
from ucuie.schema import Split
from ucuie.tables import evaluation_tables


def evaluate(
    gold: Annotated[Path, typer.Option("--data", help="Unified JSONL, or a folder that convert wrote.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for report.json and predictions.jsonl.")
    ],
    scorer: Annotated[str, typer.Option(help="The name of a scorer, or all.")] = "offset",
    split: Annotated[
        Split, typer.Option(parser=one_of(SPLITS), metavar="NAME", help="Which split of a folder.")
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

    talk = talk_console(quiet=quiet)
    extractor = Extractor.from_pretrained(model, device=device, batch_size=batch_size)
    track = Track(talk, is_shown=True)
    try:
        report = evaluation.evaluate(extractor, examples, output, scorer=scorer, progress=track)
    except KeyboardInterrupt:
        exit_interrupted(f"after {track.summary}", "the same command")
    if as_json:
        typer.echo(json.dumps(report.to_dict(), ensure_ascii=False))
    else:
        results().print(evaluation_tables(report))
    talk.print(f"{track.summary} -> {output}")


def score(
    gold: Annotated[Path, typer.Option("--data", help="Unified JSONL, or a folder that convert wrote.")],
    predictions: Annotated[Path, typer.Option(help="JSON lines with id and records.")],
    scorer: Annotated[str, typer.Option(help="The name of a scorer.")] = "offset",
    split: Annotated[
        Split, typer.Option(parser=one_of(SPLITS), metavar="NAME", help="Which split of a folder.")
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
