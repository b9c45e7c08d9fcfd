"""The doctor finds what is amiss, says what to do, and does not die of it."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ucuie.cli import app
from ucuie.cli.doctor import Finding, Patient, examine
from ucuie.model import source as model_source

# The package has the command under the name of its module.
doctor = sys.modules["ucuie.cli.doctor"]


@pytest.fixture(scope="module")
def model(adapted_folder: Path) -> Path:
    return adapted_folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


def findings(model: Path | None = None) -> dict[str, Finding]:
    patient = Patient(None if model is None else str(model), seconds=0)
    return dict(examine(patient))


def test_every_check_runs(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_source, "packaged_model", lambda _: model)
    found = findings()
    assert {one.state for one in found.values()} <= {"ok", "note"}, found
    assert all(one.advice for one in found.values() if one.state != "ok")
    assert "texts/s" in found["self-test"].words
    assert "hash" in found["model"].words


def test_the_command_prints_findings_and_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> list[str]:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(doctor, "requires", fail)
    result = run("--model", "none")
    assert result.exit_code == 1
    assert "ok     python" in result.stdout
    assert "broken packages     RuntimeError: out of luck\n" in result.stdout
    assert f"{'':<20}-> report it" in result.stdout
    assert json.loads(run("--model", "none", "--json").stdout)[1]["state"] == "broken"


def test_a_damaged_model_is_found_and_there_is_no_self_test(model: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(model, damaged)
    with (damaged / "adapter_model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    found = findings(damaged)
    assert found["model"].state == found["self-test"].state == "broken"
    assert "adapter_model.safetensors is damaged" in found["model"].words
    assert run("--model", damaged, "--seconds", 0).exit_code == 1


def test_the_embedded_model_is_mended_by_installing_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(model_source, "__file__", str(tmp_path / "model" / "source.py"))
    result = findings()["model"]
    assert result.state == "broken"
    assert result.advice == "pip install --force-reinstall --no-deps ucuie"


def test_a_plain_model_was_not_trained_to_extract(plain_folder: Path) -> None:
    assert "nobody trained" in findings(plain_folder)["model"].words


def test_packages_of_other_versions_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "torch>=99",
        "no-such-package>=1",
        "pydantic>=2",
        "fastapi>=99; extra == 'serve'",
        "tzlocal; extra == 'x'",
    ]
    monkeypatch.setattr(doctor, "requires", lambda _: lines)
    found = findings(Path("none"))["packages"]
    assert found.state == "broken"
    assert "torch is" in found.words
    assert "needed is >=99; no-such-package is missing" in found.words
    assert found.advice == "pip install 'torch>=99' 'no-such-package>=1'"


def test_extras_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["pydantic; extra == 'serve'", "no-such-package>=1; extra == 'spacy'"]
    monkeypatch.setattr(doctor, "requires", lambda _: lines)
    result = findings(Path("none"))["extras"]
    assert result.state == "ok"
    assert "spacy lacks no-such-package" in result.words
    assert result.advice == "where you want them: pip install 'ucuie[spacy]'"
