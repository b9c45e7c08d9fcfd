"""A tiny adapted LLaMA, random weights everywhere, so that every expert and router matters."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from adapter_cases import Inputs, MakeAdapted, MakeBackbone
from peft import PeftModel, get_peft_model
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from ucuie.adapter import HierarchicalMoeConfig

VOCABULARY = 64
PEFT_CALLS_DEPRECATED = "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(PEFT_CALLS_DEPRECATED))


@pytest.fixture(autouse=True)
def _one_thread_one_seed() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(num_threads)


def _make_backbone() -> LlamaForCausalLM:
    torch.manual_seed(1)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=VOCABULARY,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).eval()
    # The default std of 0.02 leaves logits nearly flat, which would hide errors behind ties.
    nn.init.normal_(model.lm_head.weight, std=0.2)
    return model


def _randomize(model: nn.Module, seed: int = 2) -> None:
    """Give adapter parameters values that change the output, as if trained."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "hierarchical_moe_" in name:
            parameter.data.normal_(std=0.3, generator=generator)


@pytest.fixture
def make_backbone() -> MakeBackbone:
    """Make the same tiny backbone again and again."""
    return _make_backbone


@pytest.fixture
def randomize() -> Callable[..., None]:
    return _randomize


@pytest.fixture
def backbone() -> LlamaForCausalLM:
    return _make_backbone()


@pytest.fixture
def adapted() -> MakeAdapted:
    """Make an adapted, randomised backbone from the settings of its configuration."""

    def make(**settings: object) -> PeftModel:
        model = get_peft_model(_make_backbone(), HierarchicalMoeConfig(**settings))
        _randomize(model)
        return model.eval()

    return make


@pytest.fixture
def inputs() -> Inputs:
    """Three rows of 10 tokens: 4, 5 and 3 of instruction, the last 2 of row 1 padding."""
    input_ids = torch.randint(3, VOCABULARY, (3, 10))
    attention_mask = torch.ones(3, 10, dtype=torch.long)
    attention_mask[1, 8:] = 0
    input_ids[1, 8:] = 0
    instruction_mask = torch.arange(10) < torch.tensor([[4], [5], [3]])
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "instruction_mask": instruction_mask,
        "labels": input_ids.masked_fill(attention_mask == 0, -100),
        "capability_labels": torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]),
    }
