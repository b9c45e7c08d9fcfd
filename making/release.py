r"""Puts a trained adapter into the package as a released model.

    python -m making.release --model runs/ucuie-small --backbone smollm2-135m-instruct \
        --card making/card.yaml --mixture runs/mixture/table.json --rows 40000 \
        --output src/ucuie/models/ucuie-small

In: the model folder of `ucuie train`. Out: a model folder that names its backbone by the name under which the
package knows it, with an adapter of 8 bits a weight and a card that says what it learned from. Calibration
(`ucuie calibrate`) and scores (`--scores` of making.evaluation) come afterwards, from the released weights.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

from ucuie.model.backbone import Backbone
from ucuie.model.folder import LoadedModel, load_model
from ucuie.model.saving import record_scores, save_model, store_adapter

TOLD_OF_RUN = ("adapter", "backbone_weights", "batch_size", "loss", "multitask", "texts_per_row")
"""What of a run's configuration is no path and matters to others."""


def learned_from(table: list[dict[str, Any]]) -> dict[str, str]:
    """A line for each data set of the mixture: its licence, how much of it, whether a program labelled it."""
    return {
        f"{one['title']} ({one['name']})": f"{one['licence']}; {one['used']:,} texts in {one['rows']:,} rows"
        + ("; silver: labelled by a program" if one["is_silver"] else "")
        for one in table
    }


def training_record(
    loaded: LoadedModel, card: dict[str, Any], table: list[dict[str, Any]], rows: int
) -> dict[str, Any]:
    """What `ucuie.json` and the card say about a model's making, without any path of where it was made."""
    run = loaded.info.training if loaded.info else {}
    config = run.get("config", {})
    return card | {
        "rows learned from": f"{rows:,}, drawn from a mixture of {sum(one['rows'] for one in table):,}",
        "mixture": learned_from(table),
        "settings": {name: config[name] for name in TOLD_OF_RUN if name in config},
        "versions": run.get("versions", {}),
    }


def release(loaded: LoadedModel, backbone: str, output: Path, training: dict[str, Any]) -> None:
    """Writes the released model.

    Args:
        loaded: an adapted model.
        backbone: the name of its backbone.
        output: folder of the released model.
        training: what is said about its making.
    """
    assert loaded.info is not None
    named = Backbone(
        loaded.model.get_base_model(), loaded.tokenizer, backbone, loaded.info.backbone_fingerprint
    )
    save_model(
        loaded.model,
        named,
        output,
        pool=loaded.pool,
        training=training,
        window_tokens=loaded.info.window_tokens,
    )
    store_adapter(output, "int8")


def scores_of(scores: dict[str, Any]) -> dict[str, Any]:
    """F1 in per cent on test texts by data set and row, from `scores.json` of making.evaluation."""
    return {
        f"F1 % on test, {described}, scorer `offset`": {
            f"{dataset}, {row}": round(counts["f1"], 1)
            for dataset, one in scores.get(kind, {}).items()
            for row, counts in one["scores"].items()
        }
        for kind, described in (("supervised", "trained on"), ("zero-shot", "never trained on"))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, help="a folder made by `ucuie train`")
    parser.add_argument("--backbone", help="name of a known backbone, which the model was trained on")
    parser.add_argument("--card", type=Path, help="what the card says beside numbers, YAML")
    parser.add_argument("--mixture", type=Path, help="table.json of making.mixture")
    parser.add_argument("--rows", type=int, default=0, help="of the mixture that the training came to")
    parser.add_argument("--scores", type=Path, help="scores.json of making.evaluation, for a released model")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    if options.model is not None:
        loaded = load_model(options.model, device="cpu")
        card = yaml.safe_load(options.card.read_text("utf-8"))
        table = json.loads(options.mixture.read_text("utf-8"))
        training = training_record(loaded, card, table, options.rows)
        release(loaded, options.backbone, options.output, training)
    if options.scores is not None:
        record_scores(options.output, scores_of(json.loads(options.scores.read_text("utf-8"))))
    for file in sorted(options.output.rglob("*")):
        if file.is_file():
            print(f"{file.stat().st_size:>12,}  {file.relative_to(options.output)}")


if __name__ == "__main__":
    main()
