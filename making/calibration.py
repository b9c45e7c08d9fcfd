r"""Calibrates a model on sets that it learned from, and chooses its thresholds with sets that it never saw.

    python -m making.calibration --model src/ucuie/models/ucuie-small --data runs/data --limit 40 \
        --sets bc5cdr conll04 nothing ... --judges crossner_ai:validation mit_restaurant:train \
        --output runs/calibration.json

A type that was trained on is found with more certainty than a new one, so thresholds chosen on the first
alone are too high for the second. The judges decide about thresholds only: scores are calibrated without
them. All texts are read twice. Writes into the model folder, and what `ucuie calibrate --json` prints into a
file.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

from making.nothing import DATASET as NOTHING
from ucuie.data import read_gold
from ucuie.evaluation.calibrate import CalibrationReport, calibrate
from ucuie.extract.extractor import Extractor
from ucuie.files import write_text
from ucuie.model.saving import record_calibration
from ucuie.schema import Example, Split


def gold(data: Path, names: Iterable[str], limit: int) -> Iterator[Example]:
    """Texts of sets, each `NAME` or `NAME:SPLIT`, by default of validation splits; all that have nothing."""
    for name in names:
        folder, _, split = name.partition(":")
        if split not in ("", *get_args(Split)):
            raise ValueError(f"{name!r} names no split; write one of {', '.join(get_args(Split))}")
        most = None if folder == NOTHING else limit
        yield from read_gold(data / folder, split=split or "validation", limit=most)


def judged_calibration(
    extractor: Extractor, examples: list[Example], judges: list[Example]
) -> CalibrationReport:
    """The calibration of the examples, at the operating point that is best with the judges beside them."""
    judged = calibrate(extractor, [*examples, *judges], end_biases=(0.0,))
    own = calibrate(extractor, examples, end_biases=(0.0,))
    return replace(own, point=judged.point, choice=judged.choice)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a model folder, which is written to")
    parser.add_argument("--data", type=Path, required=True, help="folder of converted sets")
    parser.add_argument("--sets", nargs="+", required=True, help="that the model was trained on")
    parser.add_argument("--judges", nargs="+", required=True, help="NAME:SPLIT, that it never saw")
    parser.add_argument("--limit", type=int, required=True, help="texts of a set")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    extractor = Extractor.from_pretrained(options.model)
    report = judged_calibration(
        extractor,
        list(gold(options.data, options.sets, options.limit)),
        list(gold(options.data, options.judges, options.limit)),
    )
    write_text(options.output, json.dumps(report.to_dict()) + "\n")
    record_calibration(options.model, report.calibration, point=report.point)
    print(report.point)


if __name__ == "__main__":
    main()
