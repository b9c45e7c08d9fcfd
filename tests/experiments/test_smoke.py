"""Every experiment at smoke scale, from the command line to the pages."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ucuie.cli import app
from ucuie.experiments.definitions import EXPERIMENTS
from ucuie.experiments.scales import scale_named
from ucuie.experiments.trials import Training
from ucuie.experiments.workspace import open_workspace

EXAMPLES = Path(__file__).parents[2] / "examples"


def invoke(*arguments: str):
    return CliRunner().invoke(app, ["experiment", *arguments])


def test_unknown_experiment_and_variant_list_the_choices(tmp_path):
    for arguments, known in ((["tabel4"], "table4"), (["table4", "--variant", "sof"], "no-bce")):
        result = invoke(*arguments, "--runs", str(tmp_path))
        assert result.exit_code == 2
        assert known in result.stderr


@pytest.mark.usefixtures("needs_embedded_model")
def test_a_trial_that_crashed_is_told_by_the_exit_code(tmp_path):
    given = [
        "table4",
        "--variant",
        "soft",
        "--scale",
        "smoke",
        "--data",
        str(EXAMPLES),
        "--runs",
        str(tmp_path),
    ]
    assert invoke(*given, "--hours", "0").exit_code == 0
    workspace = open_workspace(tmp_path, scale=scale_named("smoke"), sources=(EXAMPLES,), backbone="embedded")
    workspace.crash(Training("soft", 1e-3, 0), RuntimeError("no memory"))
    result = invoke(*given, "--hours", "0")
    assert result.exit_code == 1
    assert "crashed (--resume repeats them)" in result.stderr
    assert invoke(*given, "--report").exit_code == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.usefixtures("needs_embedded_model")
def test_all_experiments_run_and_their_pages_are_made_again_alike(tmp_path):
    common = ["--scale", "smoke", "--data", str(EXAMPLES), "--runs", str(tmp_path / "runs")]
    result = invoke("run-all", *common)
    assert result.exit_code == 0, result.output
    (workspace,) = (tmp_path / "runs").iterdir()
    pages = workspace / "pages"
    for name in EXPERIMENTS:
        text = (pages / f"{name}.md").read_text()
        assert "crashed" not in text, text
        assert "missing |" not in text, text
        assert (pages / "tables" / f"{name}.csv").exists()
    assert (pages / "figures" / "figure6.svg").exists()
    assert (workspace / "explorer" / "index.html").exists()

    page = pages / "table4.md"
    words = page.read_text().replace("again -->\n", "again -->\nWords about it.\n")
    page.write_text(words)
    shutil.rmtree(pages / "tables")
    assert invoke("run-all", *common, "--report").exit_code == 0
    assert page.read_text() == words
    assert (pages / "tables" / "table4.csv").exists()
