"""The card says what the folder says, in words and in metadata that hubs read, and no more."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from ucuie.cli import app
from ucuie.model.calibration import Calibration, Calibrator, Sigmoid
from ucuie.model.card import model_card, own_card, write_info
from ucuie.model.info import ModelInfo, read_calibration, read_info
from ucuie.model.source import embedded_model

BARE = ModelInfo(
    backbone="backbone",
    backbone_fingerprint="f",
    tokenizer_sha256="t",
    instruction_pool_hash="p",
    num_parameters=1_234_567,
)


def with_(**values: Any) -> ModelInfo:
    return BARE.model_copy(update=values)


def metadata(card: str) -> dict[str, Any]:
    _, content, _ = card.split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(content)
    return found


def ucuie(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), env={"TERMINAL_WIDTH": "200"})


def test_what_is_not_said_is_left_out() -> None:
    card = model_card("mine", BARE)
    assert set(metadata(card)) == {"library_name", "pipeline_tag", "tags"}
    assert [line for line in card.splitlines() if line.startswith("## ")] == ["## Use", "## Calibration"]
    assert "1.2 million" in card
    assert "do not say how often one of them is right" in card


def test_metadata_come_from_the_folder() -> None:
    info = with_(
        backbone="them/base",
        training={
            "license": "apache-2.0",
            "language": "en",
            "limits": "small",
            "config": {"backbone": "/home/me/base"},
            "data": {"conll04": {"used": 900, "available": 922, "leaked": 22}, "a set": {"used": 1}},
        },
        scores={"F1 %": {"conll04, RE boundary": 61.234}, "offset": {"phee": {"ED": 50.0}}},
    )
    card = model_card("me/mine", info)
    found = metadata(card)
    assert found["license"] == "apache-2.0"
    assert found["language"] == "en"
    assert found["base_model"] == "them/base"
    assert found["datasets"] == ["conll04"], "only names that a hub takes"
    task = {"type": "token-classification"}
    assert found["model-index"] == [
        {
            "name": "me/mine",
            "results": [
                {
                    "task": {**task, "name": "RE boundary"},
                    "dataset": {"name": "conll04", "type": "conll04"},
                    "metrics": [{"type": "f1", "name": "F1 %", "value": 61.234}],
                },
                {
                    "task": {**task, "name": "ED"},
                    "dataset": {"name": "phee", "type": "phee"},
                    "metrics": [{"type": "offset", "name": "offset", "value": 50.0}],
                },
            ],
        }
    ]
    assert "| conll04 | 900 | 922 | 22 |" in card
    assert "| a set | 1 |  |  |" in card
    assert "| conll04 | RE boundary | 61.23 |  |" in card
    assert "| phee | ED |  | 50.0 |" in card
    assert "- small\n" in card
    assert "/home/me" not in card


def test_licence_and_languages_may_be_given() -> None:
    found = metadata(model_card("mine", with_(training={"license": "mit"}), license="cc0", languages=["en"]))
    assert (found["license"], found["language"]) == ("cc0", ["en"])


def test_calibration_is_told() -> None:
    one = Calibrator(
        kind="record", task="NER", curve=Sigmoid(method="none"), num_elements=1200, num_right=300
    )
    card = model_card("mine", BARE, Calibration(texts={"conll04": 7, "phee": 5}, calibrators=(one,)))
    assert "calibrated on 12 texts of conll04, phee:" in card
    assert "| record | NER | none | 1,200 | 25 % |" in card


@given(
    name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
    training=st.dictionaries(
        st.text(),
        st.text() | st.integers() | st.none() | st.lists(st.text()) | st.dictionaries(st.text(), st.text()),
    ),
    scores=st.dictionaries(st.text(), st.floats() | st.text() | st.dictionaries(st.text(), st.floats())),
)
def test_nothing_in_a_folder_breaks_the_card(
    name: str, training: dict[str, Any], scores: dict[str, Any]
) -> None:
    card = model_card(name, with_(training=training, scores=scores))
    assert metadata(card)["library_name"] == "ucuie"
    headings = [line for line in card.splitlines() if line.startswith("## ")]
    assert headings == [
        heading
        for heading in ("## Use", "## Data and training", "## Calibration", "## Scores", "## Limits")
        if heading in headings
    ]


def test_a_card_is_ones_own_once_it_was_edited(tmp_path: Path) -> None:
    assert own_card(tmp_path, BARE) is None
    write_info(tmp_path, BARE, name="a name (of 2026)")
    assert own_card(tmp_path, BARE) is None
    text = (tmp_path / "README.md").read_text()
    for edited in (f"{text}More.\n", "", "# a name\n"):
        (tmp_path / "README.md").write_text(edited)
        assert own_card(tmp_path, BARE) == edited


def test_the_embedded_model_has_the_card_that_is_made_of_it() -> None:
    folder = embedded_model()
    info = read_info(folder)
    assert (folder / "README.md").read_text("utf-8") == model_card(
        folder.name, info, read_calibration(folder, info)
    ), "ucuie model card ucuie-mini --output src/ucuie/models/ucuie-mini/README.md --force"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What says something about a model, without the model."""
    folder = tmp_path / "mine"
    folder.mkdir()
    write_info(folder, BARE, name="mine")
    return folder


def test_the_command_prints_a_card(folder: Path) -> None:
    result = ucuie("model", "card", folder, "--name", "me/mine", "--license", "mit", "--language", "en")
    assert result.stdout == model_card("me/mine", BARE, license="mit", languages=["en"])


def test_a_card_of_ones_own_is_not_written_over(folder: Path) -> None:
    path = folder / "README.md"
    assert ucuie("model", "card", folder, "--license", "mit", "--output", path).exit_code == 0
    assert "license: mit" in path.read_text()
    path.write_text("My words.\n")
    result = ucuie("model", "card", folder, "--output", path)
    assert result.exit_code == 2
    assert "--force replaces it" in result.stderr
    assert path.read_text() == "My words.\n"
    assert ucuie("model", "card", folder, "--output", path, "--force").exit_code == 0
    assert path.read_text() == model_card("mine", BARE)


def test_the_command_tells_what_a_folder_says(tmp_path: Path) -> None:
    result = ucuie("model", "info", "ucuie-mini")
    assert result.exit_code == 0, result.output
    assert "parameters   9," in result.stdout
    assert "scores       calibrated" in result.stdout
    broken = Path(shutil.copytree(embedded_model(), tmp_path / "broken"))
    (broken / "instructions.yaml").unlink()
    result = ucuie("model", "info", broken, "--json")
    assert result.exit_code == 2
    assert '"faults": ["instructions.yaml is missing"]' in result.stdout
    assert "instructions.yaml is missing" in result.stderr


@pytest.mark.parametrize("command", ["card", "info"])
def test_what_is_no_model_is_told(command: str, tmp_path: Path) -> None:
    result = ucuie("model", command, tmp_path)
    assert result.exit_code == 2
    assert "ucuie.json is missing" in result.stderr
