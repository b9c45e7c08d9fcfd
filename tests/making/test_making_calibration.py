"""Calibration with judges: they decide about thresholds, and about nothing else."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from making import calibration as module
from making.calibration import gold, judged_calibration
from ucuie.evaluation.calibrate import CalibrationReport
from ucuie.model.calibration import Calibration
from ucuie.model.operating_point import OperatingPoint
from ucuie.schema import Example, Schema


def example(dataset: str, number: int) -> Example:
    return Example(
        id=f"{dataset}/{number}", dataset=dataset, task="NER", split="validation", text=f"Ada {number}.",
        schema=Schema.of(["person"]), records=(),
    )  # fmt: skip


def test_judges_choose_the_point_and_leave_the_curves_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def calibrate(
        extractor: Any, examples: list[Example], *, end_biases: tuple[float, ...]
    ) -> CalibrationReport:
        assert end_biases == (0.0,)
        point = OperatingPoint(threshold={"NER": len(examples) / 10})
        return CalibrationReport(
            "m", len(examples), 0, Calibration(texts={"own": len(examples)}), point, None, ()
        )

    monkeypatch.setattr(module, "calibrate", calibrate)
    own, judges = [example("own", number) for number in range(3)], [example("judge", 0)]
    report = judged_calibration(SimpleNamespace(), own, judges)
    assert report.calibration.texts == {"own": 3}
    assert report.point.threshold_of("NER") == 0.4
    assert report.num_texts == 3


def test_sets_are_cut_and_those_of_texts_with_nothing_are_not(tmp_path: Path) -> None:
    for name, split in (("set", "validation"), ("judge", "train"), ("nothing", "validation")):
        (tmp_path / name).mkdir()
        lines = "".join(example(name, number).to_json() + "\n" for number in range(5))
        (tmp_path / name / f"{split}.jsonl").write_text(lines.replace('"validation"', f'"{split}"'))
    found = [one.dataset for one in gold(tmp_path, ["set", "judge:train", "nothing"], 2)]
    assert found == ["set"] * 2 + ["judge"] * 2 + ["nothing"] * 5
    with pytest.raises(ValueError, match="'set:dev' names no split; write one of train, validation, test"):
        list(gold(tmp_path, ["set:dev"], 2))
