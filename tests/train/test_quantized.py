"""Backbones kept in fewer bits: a step of training, and the adapter loads back on the backbone as stored."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from ucuie.errors import ConfigError, MissingExtraError
from ucuie.model.folder import load_backbone, load_model
from ucuie.train import TrainConfig
from ucuie.train.run import run_training


def settings(backbone_folder: Path, data_folder: Path, tmp_path: Path, **changes: Any) -> TrainConfig:
    defaults = {
        "backbone": str(backbone_folder),
        "output": str(tmp_path / "model"),
        "data": {"train": [str(data_folder)]},
        "batch_size": 4,
        "warming": {"enabled": False},
        "multitask": {"max_steps": 2, "learning_rate": 0.01},
        "trainer": {"disable_tqdm": True, "report_to": []},
    }
    return TrainConfig.model_validate(defaults | changes)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("weights", ["bfloat16", "8bit", "4bit"])
def test_an_adapter_trained_on_rounded_weights_loads_on_the_stored_ones(
    backbone_folder: Path, data_folder: Path, tmp_path: Path, weights: str
) -> None:
    if weights != "bfloat16":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    config = settings(backbone_folder, data_folder, tmp_path, backbone_weights=weights)
    folder = run_training(config)
    model = load_model(folder).model
    stored = load_file(backbone_folder / "model.safetensors")
    weight = model.get_base_model().model.layers[0].mlp.up_proj.base_layer.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, stored["model.layers.0.mlp.up_proj.weight"])
    trained = load_file(folder / "adapter_model.safetensors")
    assert all(tensor.dtype == torch.float32 for tensor in trained.values())
    assert any(tensor.abs().sum() > 0 for name, tensor in trained.items() if name.endswith("_up"))


def test_weights_that_would_be_copied_are_not_rounded(needs_embedded_model: None) -> None:
    with pytest.raises(ConfigError, match="keep it in float32"):
        load_backbone("embedded", weights="bfloat16")


def test_full_fine_tuning_of_rounded_weights_is_refused() -> None:
    with pytest.raises(ValidationError, match="backbone_weights are float32"):
        TrainConfig.model_validate({"data": {"train": ["x"]}, "method": "full", "backbone_weights": "4bit"})


def test_a_missing_library_names_its_extra(backbone_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match="quantized"):
        load_backbone(backbone_folder, weights="4bit")
