r"""Evaluates a model on many test splits, and writes everything that the page about it says in `scores.json`.

    python -m making.evaluation --model runs/ucuie-small --data runs/data --limit 500 \
        --supervised conll04 conll04_entities ... --zero-shot crossner_ai fewrel ... \
        --mixture runs/mixture/types.json --output runs/evaluation

Each set is evaluated by itself, as `ucuie evaluate` does it, into a folder of its own; a set that is done is
not evaluated again, an interrupted one goes on. For sets that were never trained on there is more: F1 on the
types whose names do not stand among those of the training mixture, and on those that have no word in common
with any of them; and for sets that ask for other types in each of several trials, the F1 of every trial. The
set `nothing` (see making/nothing.py) is told by the share of its texts in which something was found.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from making.absent import stems
from making.nothing import DATASET as NOTHING
from ucuie.data import read_gold, read_predictions, zero_shot_folds
from ucuie.evaluation.evaluate import PREDICTIONS_FILE, REPORT_FILE, evaluate
from ucuie.extract.extractor import Extractor
from ucuie.files import write_text
from ucuie.metrics import View, apply_views, break_down
from ucuie.schema import Example, Record, Schema

ROWS = ("NER", "RE boundary", "ED", "EAE pooled", "EAE linked", "ABSA")
SCORES_FILE = "scores.json"
Predictions = Sequence[Sequence[Record]]


def predictions_on(
    extractor: Extractor, data: Path, folder: Path, limit: int | None
) -> tuple[list[Example], Predictions]:
    """The test texts of a set and what the model finds in them, from the folder where it is there already."""
    examples = read_gold(data, split="test", limit=limit)
    if not (folder / REPORT_FILE).exists():
        evaluate(extractor, examples, folder)
    return examples, read_predictions(folder / PREDICTIONS_FILE, examples)


def scores(examples: Sequence[Example], predictions: Predictions) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and its 95 % interval in per cent by row, scorer `offset`."""
    breakdown = break_down(examples, predictions)
    intervals = {one.row: one for one in breakdown.intervals if one.dataset is not None}
    found = {}
    for one in breakdown.report.scores:
        if one.row in ROWS:
            counts, interval = one.counts, intervals[one.row]
            numbers = {"precision": counts.precision, "recall": counts.recall, "f1": counts.f1}
            numbers |= {"low": interval.low, "high": interval.high}
            found[one.row] = {name: round(value, 2) for name, value in numbers.items()}
    return found


def only_types(names: Iterable[str]) -> View:
    """Gold and predictions of some types only; texts that are not asked for any of them are left out."""
    return partial(_of_types, frozenset(names))


def _of_types(
    names: frozenset[str], example: Example, predicted: Sequence[Record]
) -> tuple[Example, Sequence[Record]] | None:
    frames = tuple(frame for frame in example.schema.frames if frame.name in names)
    if not frames:
        return None
    narrowed = Example(
        id=example.id,
        dataset=example.dataset,
        task=example.task,
        split=example.split,
        text=example.text,
        schema=Schema(frames=frames),
        records=tuple(record for record in example.records if record.frame in names),
    )
    return narrowed, [record for record in predicted if record.frame in names]


def new_types(names: Iterable[str], trained: Iterable[str]) -> dict[str, list[str]]:
    """Which types are new to a model: by their whole names, and by every word of them."""
    trained = list(trained)
    known_names = {name.casefold() for name in trained}
    known_stems = frozenset().union(*(stems(name) for name in trained))
    names = sorted(names)
    return {
        "new names": [name for name in names if name.casefold() not in known_names],
        "new words": [name for name in names if not stems(name) & known_stems],
    }


def zero_shot_scores(
    examples: Sequence[Example], predictions: Predictions, trained: Iterable[str]
) -> dict[str, Any]:
    """What `scores` gives, again on new types only, and by trial where there are several."""
    result: dict[str, Any] = {"scores": scores(examples, predictions)}
    types = {frame.name for example in examples for frame in example.schema.frames}
    for name, chosen in new_types(types, trained).items():
        result[name] = {"types": chosen, "of": len(types)}
        if chosen:
            result[name]["scores"] = scores(*apply_views(examples, predictions, [only_types(chosen)]))
    folds = zero_shot_folds(examples)
    if len(folds) > 1:
        by_id = {example.id: records for example, records in zip(examples, predictions, strict=True)}
        trials = [scores(fold, [by_id[one.id] for one in fold]) for fold in folds.values()]
        result["trials"] = {
            row: {
                "f1": [trial[row]["f1"] for trial in trials],
                "mean": round(fmean(trial[row]["f1"] for trial in trials), 2),
                "deviation": round(stdev(trial[row]["f1"] for trial in trials), 2),
            }
            for row in trials[0]
        }
    return result


def false_finds(examples: Sequence[Example], predictions: Predictions) -> dict[str, dict[str, float]]:
    """By task and in all: how many texts without anything to find, and the share in which something was."""
    found: dict[str, list[bool]] = defaultdict(list)
    for example, records in zip(examples, predictions, strict=True):
        for name in (example.task, "all"):
            found[name].append(bool(records))
    return {
        name: {"texts": len(flags), "with a record %": round(100 * fmean(flags), 1)}
        for name, flags in found.items()
    }


def calibration_errors(report: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Expected calibration errors in per cent by kind of element, of what `ucuie calibrate --json` prints."""
    return {
        row["kind"]: {
            "elements": row["num_elements"],
            "before": round(100 * row["ece_before"], 2),
            "after": round(100 * row["ece_after"], 2),
        }
        for row in report["errors"]
        if row["task"] is None
    }


def evaluated(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that `scores.json` holds."""
    extractor = Extractor.from_pretrained(options.model, device=options.device)
    trained = json.loads(options.mixture.read_text("utf-8")) if options.mixture else []
    result: dict[str, Any] = {"model": extractor.model_name, "limit": options.limit}
    for kind, names in (("supervised", options.supervised), ("zero-shot", options.zero_shot)):
        for name in names:
            examples, predictions = predictions_on(
                extractor, options.data / name, options.output / name, options.limit
            )
            numbers: dict[str, Any] = {"texts": len(examples), "task": examples[0].task}
            if kind == "zero-shot":
                numbers |= zero_shot_scores(examples, predictions, trained)
            else:
                numbers["scores"] = scores(examples, predictions)
            result.setdefault(kind, {})[name] = numbers
            print(name, numbers["scores"], flush=True)
    if (options.data / NOTHING).is_dir():
        examples, predictions = predictions_on(
            extractor, options.data / NOTHING, options.output / NOTHING, None
        )
        result["nothing to find"] = false_finds(examples, predictions)
    if options.calibration is not None:
        result["calibration"] = calibration_errors(json.loads(options.calibration.read_text("utf-8")))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", required=True, help="a folder or hub id")
    parser.add_argument("--data", type=Path, required=True, help="folder of converted sets")
    parser.add_argument("--supervised", nargs="*", default=[], help="sets that it was trained on")
    parser.add_argument("--zero-shot", nargs="*", default=[], help="sets that it never saw")
    parser.add_argument("--limit", type=int, help="at most so many texts of each set, evenly drawn")
    parser.add_argument("--mixture", type=Path, help="types.json of making.mixture")
    parser.add_argument("--calibration", type=Path, help="what `ucuie calibrate --json` printed")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    content = json.dumps(evaluated(options), indent=1, ensure_ascii=False)
    write_text(options.output / SCORES_FILE, content + "\n")


if __name__ == "__main__":
    main()
