"""A tiny adapted LLaMA, random weights everywhere, so that every expert and router matters."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from adapter_cases import Inputs, MakeAdapted, MakeBackbone
from peft import PeftModel
from transformers import LlamaForCausalLM

import tiny_model

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
    tokens = {"bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0}
    return tiny_model.make_backbone(vocab_size=VOCABULARY, tie_word_embeddings=False, **tokens)


@pytest.fixture
def make_backbone() -> MakeBackbone:
    """Make the same tiny backbone again and again."""
    return _make_backbone


@pytest.fixture
def randomize() -> Callable[..., None]:
    return tiny_model.randomize


@pytest.fixture
def backbone() -> LlamaForCausalLM:
    return _make_backbone()


@pytest.fixture
def adapted() -> MakeAdapted:
    """Make an adapted, randomised backbone from the settings of its configuration."""

    def make(**settings: object) -> PeftModel:
        return tiny_model.make_adapted(_make_backbone(), **settings)

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
