"""Recipes: all are whole, and train a tiny model of their architecture through its real module names."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from ucuie.errors import ConfigError
from ucuie.train import TrainConfig
from ucuie.train.config import config_path, recipe_names
from ucuie.train.estimate import recipe_shapes
from ucuie.train.run import run_training

TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
}


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_is_whole_and_has_a_shape(name: str) -> None:
    config = TrainConfig.load(config_path(name), overrides=["data.train=[runs/data]"])
    assert config.batch_size == 16
    assert config.output.name == f"uc-uie-{name}"
    assert recipe_shapes()[name].num_hidden_layers > 10


def test_every_shape_has_a_recipe() -> None:
    assert sorted(recipe_shapes()) == recipe_names()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama-2-7b", "llama-3.1-8b", "qwen3-8b", "mistral-7b", "smollm2-135m"])
def test_recipe_trains_a_tiny_model_of_its_architecture(
    name: str, tokenizer: PreTrainedTokenizerFast, data_folder: Path, tmp_path: Path
) -> None:
    settings = recipe_shapes()[name].to_dict() | TINY | {"vocab_size": len(tokenizer), "layer_types": None}
    model = AutoModelForCausalLM.from_config(type(recipe_shapes()[name])(**settings))
    model.save_pretrained(tmp_path / "backbone")
    tokenizer.save_pretrained(tmp_path / "backbone")
    overrides = {
        "backbone": str(tmp_path / "backbone"),
        "output": str(tmp_path / "model"),
        "data.train": [str(data_folder)],
        "warming.max_steps": 1,
        "multitask.max_steps": 2,
        "trainer.disable_tqdm": True,
        "trainer.report_to": [],
    }
    config = TrainConfig.load(
        config_path(name), overrides=[f"{key}={json.dumps(value)}" for key, value in overrides.items()]
    )
    folder = run_training(config)
    weights = load_file(folder / "adapter_model.safetensors")
    adapted = {key.removeprefix("base_model.model.").rpartition(".")[0] for key in weights}
    assert adapted == {
        f"model.layers.{layer}.mlp.{projection}"
        for layer in (0, 1)
        for projection in ("gate_proj", "up_proj", "down_proj")
    }


def test_a_file_goes_before_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config_path("llama-2-7b").parent.name == "recipe_files"
    (tmp_path / "llama-2-7b").touch()
    assert config_path("llama-2-7b").resolve().parent == tmp_path.resolve()


def test_an_unknown_recipe_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'llama-2-7b'"):
        config_path("llama2-7b")
