import json
from pathlib import Path

import pytest
from data_cases import example, write_sets
from typer.testing import CliRunner

from ucuie.cli import app
from ucuie.data import write_examples
from ucuie.metrics import SCORERS

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


def test_leaks_into_other_sets_are_counted(folder: Path, tmp_path: Path) -> None:
    write_sets(tmp_path / "others", {"one": {"test": ["ANN ran.", "b"], "train": ["Ann ran"]}})
    for held_out in (tmp_path / "others", tmp_path / "others" / "one"):
        assert "1 text of train in one/test" in run("data", "stats", folder, "--held-out", held_out)
    assert "of train in" not in run("data", "stats", folder, "--held-out", folder)


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
    assert "run / agent" in run(*scored[:2], folder, *scored[3:], "--limit", 2)
    side_by_side = run(*scored, "--scorer", "all").splitlines()
    assert side_by_side[0] == "F1 % by scorer"
    assert side_by_side[2].split()[-len(SCORERS) :] == list(SCORERS)
    page = (
        run(*scored, "--scorer", "all", "-o", folder / "all")
        and (folder / "all" / "breakdown.html").read_text()
    )
    assert "knowcoder-em" in page
    (folder / "types.json").write_text('{"run": "move"}')
    coarse = json.loads(run(*scored, "--positives-only", "--coarse-types", folder / "types.json", "--json"))
    assert coarse["mistakes"]["right"] == 2
    assert coarse["mistakes"]["confusion"][0]["gold"] == "move"


def test_trials_are_averaged(folder: Path) -> None:
    records = [record.model_dump() for record in GOLD[0].records]
    for name, answer in (("one", records), ("two", [])):
        lines = [{"id": "1", "records": answer}, {"id": "2", "records": []}]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
        run(
            "score",
            "--data",
            folder / "test.jsonl",
            "--predictions",
            folder / f"{name}.jsonl",
            "-o",
            folder / name,
        )
    table = run("trials", folder / "one", folder / "two" / "breakdown.json")
    # 100 and 0: mean 50, sqrt(50 ** 2 + 50 ** 2) is 70.71.
    assert [line.split() for line in table.splitlines() if " ED " in line] == [
        ["EE", "ED", "-", "50.00", "70.71", "2"]
    ]
    plain = json.loads(run("trials", folder / "one", "--json"))
    assert plain["offset"][0]["f1s"] == [100]


def test_trials_that_do_not_belong_together_are_refused(folder: Path) -> None:
    (folder / "no.jsonl").write_text('{"id": "1", "records": []}\n{"id": "2", "records": []}\n')
    scored = ("score", "--data", folder / "test.jsonl", "--predictions", folder / "no.jsonl")
    run(*scored, "-o", folder / "one")
    run(*scored, "-o", folder / "other", "--scorer", "gollie")
    (folder / "report.json").write_text("[]")
    for arguments, message in (
        ((folder / "one", folder / "other"), "not every trial was scored by offset, gollie"),
        ((folder / "report.json",), "it holds no scores"),
        ((folder / "absent",), "there is no report in it"),
    ):
        result = CliRunner().invoke(app, ["trials", *map(str, arguments)])
        assert result.exit_code == 2
        assert message in result.output


def test_a_set_is_converted_into_another_format_and_shown(folder: Path) -> None:
    result = run("convert", "unified", "--source", folder, "--to", "csv", "-o", folder / "csv", "--json")
    exports = json.loads(result.splitlines()[-1])["exports"]
    assert {split: one["examples"] for split, one in exports.items()} == {"train": 30, "test": 2}
    assert sorted(path.name for path in (folder / "csv").iterdir()) == ["test.csv", "train.csv"]
    row = run("convert", "casie", "--list")
    assert "Databreach" in row
    assert json.loads(run("convert", "casie", "--list", "--json"))["datasets"][0]["homepage"] in row
