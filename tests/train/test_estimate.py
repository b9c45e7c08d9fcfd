"""The estimate of memory: the numbers that are known, what changes them, and a real step beside it."""

import os
import subprocess
import sys
from typing import Any

import pytest
from transformers import LlamaConfig
from typer.testing import CliRunner

from ucuie.cli import app
from ucuie.train import TrainConfig
from ucuie.train.estimate import estimate_memory, recipe_shapes

TOLERANCE = 0.1
RETURNS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Otherwise glibc keeps up to a third more than it was asked for."""
ROW_TOKENS = 256
ROWS = 8

STEP = """
import sys
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM, LlamaConfig
from ucuie.train import TrainConfig
from ucuie.train.estimate import packed_inputs, step_loss
from ucuie.train.packing import packed_attention
from ucuie.train.run import adapted

def resident(field):
    status = Path("/proc/self/status").read_text()
    return int(status.partition(field + ":")[2].split()[0]) * 1024

torch.set_num_threads(1)
rows, row_tokens = int(sys.argv[1]), int(sys.argv[2])
def step(shape, rows, row_tokens):
    model = adapted(AutoModelForCausalLM.from_config(shape), {}).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    with packed_attention(model.get_base_model()):
        step_loss(model, packed_inputs(rows, row_tokens)).backward()
    optimizer.step()

sizes = dict(vocab_size=2048, num_attention_heads=8, num_key_value_heads=8)
tiny = LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, **sizes)
step(tiny, 2, 16)
before = resident("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
step(LlamaConfig(hidden_size=512, intermediate_size=1376, num_hidden_layers=6, **sizes), rows, row_tokens)
print(resident("VmHWM") - before)
"""


def config(**changes: Any) -> TrainConfig:
    return TrainConfig.model_validate({"data": {"train": ["x"]}, "batch_size": ROWS} | changes)


def middling() -> LlamaConfig:
    return type(recipe_shapes()["llama-2-7b"])(
        vocab_size=2048,
        hidden_size=512,
        intermediate_size=1376,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=8,
    )


def test_every_part_is_what_it_must_be() -> None:
    estimate = estimate_memory(config(), middling(), row_tokens=ROW_TOKENS)
    assert estimate.weights == 4 * estimate.num_parameters
    assert estimate.gradients == 4 * estimate.num_trained
    assert estimate.optimizer == 8 * estimate.num_trained
    assert estimate.total == sum(
        (estimate.weights, estimate.gradients, estimate.optimizer, estimate.activations)
    )


@pytest.mark.slow
def test_activations_grow_with_rows_and_shrink_with_checkpoints() -> None:
    once = estimate_memory(config(), middling(), row_tokens=ROW_TOKENS)
    half = estimate_memory(config(micro_batch_size=ROWS // 2), middling(), row_tokens=ROW_TOKENS)
    shared = estimate_memory(config(), middling(), row_tokens=ROW_TOKENS, num_processes=2)
    again = estimate_memory(config(gradient_checkpointing=True), middling(), row_tokens=ROW_TOKENS)
    assert half.activations == shared.activations
    assert half.activations == pytest.approx(once.activations / 2, rel=0.1)
    assert again.activations < once.activations / 2
    assert (again.weights, again.optimizer) == (once.weights, once.optimizer)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"method": "full"}])
def test_shared_out_weights_take_a_part_and_two_layers(changes: dict[str, str]) -> None:
    whole = estimate_memory(config(**changes), middling(), row_tokens=64, num_processes=4)
    shared = estimate_memory(config(**changes, sharding="full"), middling(), row_tokens=64, num_processes=4)
    assert 4 * shared.weights == whole.weights
    assert 4 * shared.optimizer == whole.optimizer
    assert shared.activations == whole.activations
    # Of six layers two are gathered, and the embeddings.
    assert whole.weights / 3 < shared.gathered < whole.weights / 2
    assert whole.gathered == 0
    alone = estimate_memory(config(**changes, sharding="full"), middling(), row_tokens=64)
    assert (alone.gathered, alone.weights) == (0, whole.weights)


@pytest.mark.slow
def test_shared_out_weights_are_gathered_in_half_precision() -> None:
    changes = {"sharding": "full", "trainer": {"bf16": True}}
    half = estimate_memory(config(**changes), middling(), row_tokens=64, num_processes=2)
    exact = estimate_memory(config(sharding="full"), middling(), row_tokens=64, num_processes=2)
    assert 2 * half.gathered == exact.gathered
    assert (half.weights, half.gradients) == (exact.weights, exact.gradients)
    assert half.activations < exact.activations


@pytest.mark.slow
def test_weights_in_fewer_bits_take_less() -> None:
    sizes = [
        estimate_memory(config(backbone_weights=weights), middling(), row_tokens=64).weights
        for weights in ("float32", "bfloat16", "8bit", "4bit")
    ]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.slow
def test_a_real_step_needs_what_was_estimated() -> None:
    estimate = estimate_memory(config(), middling(), row_tokens=ROW_TOKENS)
    done = subprocess.run(
        [sys.executable, "-c", STEP, str(ROWS), str(ROW_TOKENS)],
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
        env=os.environ | RETURNS_MEMORY,
    )
    assert int(done.stdout) == pytest.approx(estimate.total, rel=TOLERANCE)


@pytest.mark.slow
def test_the_command_estimates_a_recipe_without_its_weights() -> None:
    arguments = ["train", "llama-2-7b", "--estimate", "--set", "data.train=[.]", "--row-tokens", "64"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    # Trained parameters of Section 4.1.
    assert "84,616,608" in done.stdout
    assert recipe_shapes()["llama-2-7b"].num_hidden_layers == 32
    assert "gathered" not in done.stdout
    done = CliRunner().invoke(app, [*arguments, "--num-processes", "4", "--sharding", "full"])
    assert "gathered" in done.stdout


def test_a_backbone_that_is_nowhere_is_refused() -> None:
    arguments = ["train", "llama-2-7b", "--estimate", "--set=data.train=[.]", "--set=backbone=no/such"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "is not known here" in done.stderr
