r"""Puts a trained model into the package, as the one that `ucuie` uses when none is named.

    python -m making.mini.release --model runs/ucuie-mini --backbone runs/lm --card making/mini/card.yaml \
        --report runs/report

The backbone's matrices are stored in fp16. The model card gets what `--card` says about data, licences and
limits, what the logs say about the training, and the scores of a report that `ucuie evaluate` made on
the test splits; evaluate the released folder again to see that rounding changed nothing.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import yaml

from ucuie.model.backbone import Backbone
from ucuie.model.folder import EMBEDDED_NAME, load_model
from ucuie.model.saving import record_scores, save_model

PACKAGED = Path(__file__).parents[2] / "src" / "ucuie" / "models" / EMBEDDED_NAME

MAIN_ROWS = ("NER", "RE boundary", "ED", "EAE linked", "ABSA")


def scores(report: dict[str, Any]) -> dict[str, Any]:
    """F1 in per cent by scorer, data set and row."""
    return {
        f"F1 % on test, scorer `{scored['scorer']}`": {
            f"{entry['dataset']}, {row['row']}": round(entry["f1"], 1)
            for row in scored["rows"]
            if row["row"] in MAIN_ROWS
            for entry in row["datasets"]
        }
        for scored in report["scores"]
    }


def pretraining_budget(folder: Path) -> dict[str, Any]:
    """What the backbone's log says at its end."""
    last = json.loads((folder / "log.jsonl").read_text("utf-8").splitlines()[-1])
    return {
        "steps": last["step"],
        "of them on annotated examples": last["example_steps"],
        "tokens": last["tokens"],
        "hours on two shared CPU cores": round(last["seconds"] / 3600, 2),
        "held-out bits per byte": last["domains"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a folder made by `ucuie train`")
    parser.add_argument("--backbone", type=Path, required=True, help="a folder made by pretrain.py")
    parser.add_argument("--card", type=Path, required=True, help="what the card says beside numbers, YAML")
    parser.add_argument("--report", type=Path, help="a folder made by `ucuie evaluate`")
    parser.add_argument("--output", type=Path, default=PACKAGED)
    options = parser.parse_args()
    loaded = load_model(options.model, device="cpu")
    backbone = Backbone(loaded.model.get_base_model(), loaded.tokenizer, source=str(options.model))
    training = yaml.safe_load(options.card.read_text("utf-8"))
    training |= {"pretraining": pretraining_budget(options.backbone)}
    training |= {"adapter": loaded.info.training if loaded.info else {}}
    save_model(
        loaded.model,
        backbone,
        options.output,
        pool=loaded.pool,
        training=training,
        window_tokens=loaded.info.window_tokens if loaded.info else None,
        copy_as=torch.float16,
    )
    if options.report is not None:
        report = json.loads((options.report / "report.json").read_text("utf-8"))
        record_scores(options.output, scores(report))
    for file in sorted(options.output.rglob("*")):
        if file.is_file():
            print(f"{file.stat().st_size:>12,}  {file.relative_to(options.output)}")


if __name__ == "__main__":
    main()
