"""The golden files: what the product answers, byte for byte, but for the last digits of scores.

    UCUIE_WRITE_GOLDEN=1 python -m pytest tests/golden

writes them anew; what changed is then seen in the difference, and told in CHANGELOG.md.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from golden_cases import GOLDEN

TOLERANCE = 2e-3
"""Of scores and losses: machines round differently."""
SLOW = {"extractions", "training_losses"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in sorted(GOLDEN)]
)
def test_the_answers_are_the_golden_ones(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Typer reads it from the environment while it is imported.
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", None)
    # By way of JSON: tuples are lists there.
    answers = json.loads(json.dumps(dict(GOLDEN[name](tmp_path))))
    path = Path(__file__).parent / f"{name}.json"
    if "UCUIE_WRITE_GOLDEN" in os.environ:
        lines = [
            f"{json.dumps(asked)}: {json.dumps(told, ensure_ascii=False)}" for asked, told in answers.items()
        ]
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    golden = json.loads(path.read_text(encoding="utf-8"))
    assert list(answers) == list(golden)
    for asked, told in golden.items():
        assert list(differences(told, answers[asked])) == [], asked


def differences(golden: Any, told: Any, place: str = "") -> Any:
    """Where two values differ."""
    if isinstance(golden, float) and isinstance(told, float):
        if abs(golden - told) > TOLERANCE:
            yield place, golden, told
    elif isinstance(golden, dict) and isinstance(told, dict) and golden.keys() == told.keys():
        for key, value in golden.items():
            yield from differences(value, told[key], f"{place}.{key}")
    elif isinstance(golden, list) and isinstance(told, list) and len(golden) == len(told):
        for index, (one, other) in enumerate(zip(golden, told, strict=True)):
            yield from differences(one, other, f"{place}[{index}]")
    elif golden != told:
        yield place, golden, told
