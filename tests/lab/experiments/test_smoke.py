"""Every experiment at smoke scale, from the command line to the pages."""

import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from ucuie.cli import app
from ucuie.lab.experiments.definitions import EXPERIMENTS
from ucuie.lab.experiments.scales import SCALES
from ucuie.lab.experiments.trials import Training
from ucuie.lab.experiments.workspace import open_workspace

EXAMPLES = Path(__file__).parents[3] / "examples"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["experiment", *arguments])


def test_unknown_experiment_and_variant_list_the_choices(tmp_path: Path) -> None:
    for arguments, known in ((["tabel4"], "table4"), (["table4", "--variant", "sof"], "no-bce")):
        result = invoke(*arguments, "--runs", str(tmp_path))
        assert result.exit_code == 2
        assert known in result.stderr


@pytest.mark.usefixtures("needs_embedded_model")
def test_trials_that_crashed_are_named_and_the_exit_code_tells(tmp_path: Path) -> None:
    command = ["table4", "--scale", "smoke", "--data", str(EXAMPLES), "--runs", str(tmp_path)]
    # No trial is begun.
    assert invoke(*command, "--hours", "0").exit_code == 0
    scale = SCALES["smoke"]
    workspace = open_workspace(tmp_path, scale=scale, sources=(EXAMPLES,), backbone="embedded")
    job = Training("soft", scale.learning_rates[0], 0)
    workspace.crash(job, RuntimeError("out of memory"))
    result = invoke(*command, "--hours", "0", "--quiet")
    assert result.exit_code == 1
    assert f"{job.folder}: RuntimeError: out of memory" in result.stderr
    assert "its training crashed" in result.stderr
    assert "--resume repeats them" in result.stderr
    assert invoke(*command, "--report").exit_code == 0


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.usefixtures("needs_embedded_model")
def test_all_experiments_run_and_their_pages_are_made_again_alike(tmp_path: Path) -> None:
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
