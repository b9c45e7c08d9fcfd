import json
from pathlib import Path

import pytest
from data_cases import example
from typer.testing import CliRunner

from ucuie.cli import app
from ucuie.data import write_examples

GOLD = [
    example("Ann ran", ("run", "ran", {"agent": "Ann"}), id="1", split="test"),
    example("nothing", id="2", split="test"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_examples(tmp_path / "test.jsonl", GOLD)
    write_examples(tmp_path / "train.jsonl", [example("Ann ran!", id=str(number)) for number in range(30)])
    return tmp_path


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_stats_are_a_table_json_and_a_plot(folder: Path) -> None:
    table = run("data", "stats", folder, "--plot", folder / "plot.svg")
    assert "1 text of test in train" in table
    assert (folder / "plot.svg").read_text().startswith("<svg")
    assert json.loads(run("data", "stats", folder, "--json"))["splits"]["test"]["examples"] == 2


def test_trials_are_written(folder: Path) -> None:
    run("data", "low-resource", folder, "--percent", 10, "-o", folder / "part")
    assert len((folder / "part" / "train.jsonl").read_text().splitlines()) == 3
    run("data", "zero-shot", folder, "-o", folder / "folds")
    assert sorted(path.name for path in (folder / "folds").iterdir()) == ["seed-0", "seed-1"]


def test_predictions_are_scored_and_taken_apart(folder: Path) -> None:
    predictions = folder / "answers.txt"
    lines = [{"id": one.id, "records": [record.model_dump() for record in one.records]} for one in GOLD]
    predictions.write_text("\n".join(map(json.dumps, lines)))
    scored = ("score", "--data", folder / "test.jsonl", "--predictions", predictions)
    assert "run / agent" in run(*scored, "--gold-trigger", "-o", folder / "out")
    assert "<!doctype html>" in (folder / "out" / "breakdown.html").read_text()
    (folder / "types.json").write_text('{"run": "move"}')
    coarse = json.loads(run(*scored, "--positives-only", "--coarse-types", folder / "types.json", "--json"))
    assert coarse["mistakes"]["right"] == 2
    assert coarse["mistakes"]["confusion"][0]["gold"] == "move"
