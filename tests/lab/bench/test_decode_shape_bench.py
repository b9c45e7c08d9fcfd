"""The bench of decoding at a backbone's shape measures what it says; its timings are not asserted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, PreTrainedConfig, Qwen3Config
from typer.testing import CliRunner

from ucuie.cli import app
from ucuie.errors import ConfigError
from ucuie.lab.bench.decode import LedGenerator, bench_decode_shape
from ucuie.lab.bench.options import DecodeOptions
from ucuie.lab.bench.timing import made_up_backbone, make_variants, own_bytes

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
SMALL = DecodeOptions(num_texts=3, words=12, num_types=5, batch_size=2, repeats=1, device="cpu")


@pytest.mark.parametrize("kind", [LlamaConfig, Qwen3Config])
def test_every_variant_writes_the_given_outputs_on_one_backbone(kind: type[PreTrainedConfig]) -> None:
    shape = kind(vocab_size=9000, **SIZES)
    report = bench_decode_shape(shape, replace(SMALL, layers=2, peak_tflops=2.0))
    seconds, many, one = report["seconds"], report["work"]["many"], report["work"]["one"]
    assert list(seconds) == [
        name + texts for name in ("backbone", "lora52", "adapter") for texts in ("", ", one text")
    ]
    assert report["adapter_over_backbone"] == seconds["adapter"] / seconds["backbone"]
    assert report["adapter_over_lora52"] == seconds["adapter"] / seconds["lora52"]
    assert report["adapter_over_backbone_one_text"] == (
        seconds["adapter, one text"] / seconds["backbone, one text"]
    )
    head = getattr(shape, "head_dim", None) or 8
    layer = 32 * head * (2 * 4 + 2 * 2) + 3 * 32 * 48
    weights = 2 * layer + 9000 * 32
    assert many["tokens_written"] > one["tokens_written"] > 0
    for name in ("backbone", "lora52", "adapter"):
        assert report[f"{name}_tokens_per_second"] == pytest.approx(many["tokens_written"] / seconds[name])
        tflops = 2 * weights * many["tokens_read"] / seconds[name] / 1e12
        assert report[f"{name}_tflops"] == pytest.approx(tflops)
        assert report[f"{name}_utilisation"] == pytest.approx(tflops / 2)
        gib = 4 * weights * one["forwards"] / seconds[f"{name}, one text"] / 2**30
        assert report[f"{name}_weights_gib_per_second"] == pytest.approx(gib)
    assert report["settings"]["layers"] == 2


def test_variants_have_their_weights_in_one_place_and_modules_of_their_own() -> None:
    backbone = made_up_backbone(LlamaConfig(vocab_size=64, **SIZES), num_layers=1, device=torch.device("cpu"))
    variants = make_variants(backbone)
    frozen = {parameter.data_ptr() for parameter in backbone.parameters()}
    for name, model in variants.items():
        places = {parameter.data_ptr() for parameter in model.parameters()}
        assert frozen < places or (name == "backbone" and places == frozen)
        assert sum(one.nbytes for one in model.parameters()) == own_bytes(model) + sum(
            one.nbytes for one in backbone.parameters()
        )
    assert not any("lora" in name for name, _ in variants["adapter"].named_parameters())


def test_a_variant_that_writes_something_else_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LedGenerator, "write", lambda self, jobs: [()] * len(jobs))
    with pytest.raises(RuntimeError, match="did not write the given outputs"):
        bench_decode_shape(LlamaConfig(vocab_size=9000, **SIZES), SMALL)


def test_a_vocabulary_that_is_too_small_is_told() -> None:
    with pytest.raises(ConfigError, match="vocabulary of the backbone has 100 tokens"):
        bench_decode_shape(LlamaConfig(vocab_size=100, **SIZES), SMALL)


def test_from_the_command_line(tmp_path: Path) -> None:
    shape = LlamaConfig(vocab_size=9000, architectures=["LlamaForCausalLM"], **SIZES)
    shape.save_pretrained(tmp_path)
    options = ["--texts", "2", "--words", "6", "--types", "5", "--repeats", "1", "--device", "cpu", "--json"]
    given = ["bench", "decode", "--backbone-config", str(tmp_path), "--layers", "1"]
    result = CliRunner().invoke(app, given + options)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["settings"]["layers"] == 1


@pytest.mark.parametrize("options", [["--layers", "2"], ["--backbone-config", "llama-2-7b", "--int8"]])
def test_options_of_the_other_bench_are_refused(options: list[str]) -> None:
    result = CliRunner().invoke(app, ["bench", "decode", *options])
    assert result.exit_code == 2
    assert "--backbone-config" in result.stderr
