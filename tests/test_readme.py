"""Every command and program of the README is run, in the order in which a reader would."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from transformers import TrainingArguments

from ucuie.bench.serve import running_server
from ucuie.demo import TEXTS
from ucuie.schema import Example
from ucuie.train.config import TrainConfig

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "docs/engine.md", "docs/gpu.md", "docs/scale.md", "docs/server.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)]+)\)")
PLACE = re.compile(r"(\S(?:.*?\S)?) \[(\d+):(\d+)\]")
# What is a training in the README is two steps of one here.
SHORT_TRAINING = ["--set", "warming.max_steps=1", "--set", "multitask.max_steps=1", "--set", "batch_size=2"]


@dataclass(frozen=True)
class Block:
    language: str
    content: str


def blocks(page: str) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))]


def contents(language: str, page: str = "README.md") -> list[str]:
    return [block.content for block in blocks(page) if block.language == language]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the README assumes: the examples, and data of one's own."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copytree(ROOT / "examples" / "sample", tmp_path / "my_data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder", "needs_embedded_model")
def test_programs_run() -> None:
    names: dict[str, object] = {}
    programs = contents("python")
    assert programs
    for program in programs:
        exec(compile(program, "README.md", "exec"), names)


@pytest.mark.slow
@pytest.mark.usefixtures("needs_embedded_model")
def test_commands_run(folder: Path) -> None:
    for block in blocks("README.md"):
        if block.language == "yaml":
            name, _, content = block.content.partition("\n")
            (folder / name.removeprefix("# ")).write_text(content, encoding="utf-8")
        elif block.language == "bash":
            for line in block.content.splitlines():
                run(shlex.split(line, comments=True), folder)
    assert (folder / "my-report" / "report.json").is_file()


def run(command: list[str], folder: Path) -> None:
    program, *arguments = command
    assert program == "ucuie"
    if arguments[0] == "serve":
        with running_server(*arguments[1:]):
            return
    options = SHORT_TRAINING if arguments[0] == "train" else []
    # The python of the tests, whichever `ucuie` is on the path.
    result = subprocess.run(
        [sys.executable, "-m", program, *arguments, *options],
        cwd=folder,
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, f"{shlex.join(command)}\n{result.stdout}\n{result.stderr}"


def test_the_line_of_data_is_an_example() -> None:
    (line,) = contents("json")
    assert Example.from_json(line).records


def test_offsets_in_the_output_of_the_demo_are_right() -> None:
    (output,) = contents("text")
    places = PLACE.findall(output)
    assert places
    texts = [demo.text for demo in TEXTS]
    for before, start, end in places:
        assert any(before.endswith(text[int(start) : int(end)]) for text in texts), (before, start, end)


@pytest.mark.parametrize("page", PAGES)
def test_linked_files_are_there(page: str) -> None:
    for target in LINK.findall((ROOT / page).read_text(encoding="utf-8")):
        assert target.startswith("https://") or (ROOT / page).parent.joinpath(target).exists(), target


def test_training_configurations_for_gpus_are_valid(tmp_path: Path) -> None:
    configurations = contents("yaml", "docs/gpu.md")
    assert configurations
    for content in configurations:
        path = tmp_path / "config.yaml"
        path.write_text(content, encoding="utf-8")
        config = TrainConfig.load(path)
        assert set(config.trainer) <= set(TrainingArguments.__dataclass_fields__)


def test_settings_of_the_pretraining_for_gpus_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "pretraining")
    from pretrain import PretrainingConfig

    settings = re.findall(r"--set (\S+)", "".join(contents("bash", "docs/gpu.md")[:1]))
    assert settings
    config = PretrainingConfig.load(ROOT / "pretraining" / "mini.yaml", overrides=settings)
    assert config.model.hidden % config.model.heads == 0
