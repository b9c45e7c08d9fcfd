"""What README and docs/gpu.md show beside programs and commands, which `test_pages` runs."""

import re
from pathlib import Path

from transformers import TrainingArguments

from page_cases import ROOT, blocks
from ucuie.cli.demo import TEXTS
from ucuie.schema import Example
from ucuie.train.config import TrainConfig

PLACE = re.compile(r"(\S(?:.*?\S)?) \[(\d+):(\d+)\]")


def contents(language: str, page: str = "README.md") -> list[str]:
    return [block.content for block in blocks(page) if block.language == language]


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


def test_training_configurations_for_gpus_are_valid(tmp_path: Path) -> None:
    configurations = contents("yaml", "docs/gpu.md")
    assert configurations
    for content in configurations:
        path = tmp_path / "config.yaml"
        path.write_text(content, encoding="utf-8")
        config = TrainConfig.load(path)
        assert set(config.trainer) <= set(TrainingArguments.__dataclass_fields__)


def test_settings_of_the_pretraining_for_gpus_are_valid() -> None:
    from making.mini.pretrain import PretrainingConfig

    settings = re.findall(r"--set (\S+)", "".join(contents("bash", "docs/gpu.md")[:1]))
    assert settings
    config = PretrainingConfig.load(ROOT / "making" / "mini" / "mini.yaml", overrides=settings)
    assert config.model.hidden % config.model.heads == 0
