"""The lean forward: what the decoder's own forward says, for every kind of decoder that it knows."""

import pytest
import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tiny_model import make_backbone
from ucuie.engine.cache import Prefix, SlotCache, SpareMemory
from ucuie.engine.lean import LeanDecoder, is_lean
from ucuie.engine.ragged import Step, StepRow

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
KINDS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, head_dim=16)),
    "llama, biases and scaled rotations": lambda: LlamaForCausalLM(
        LlamaConfig(
            **SIZES,
            attention_bias=True,
            rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4},
        )
    ),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, head_dim=8)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8)),
}


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    model = KINDS[request.param]().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.2)
    return model


def _prefix_of(model: PreTrainedModel, tokens: Tensor) -> Prefix:
    cache = DynamicCache()
    model.model(tokens[None], past_key_values=cache, use_cache=True)
    return Prefix.of_cache(cache, None)


@pytest.mark.parametrize("copies", [True, False], ids=["copies", "no copies"])
@torch.inference_mode()
def test_rows_read_in_pieces_have_the_states_of_the_decoders_own_forward(
    model: PreTrainedModel, copies: bool
) -> None:
    instruction = torch.randint(50, (6,))
    lean, cache, prefix = (
        LeanDecoder(model.model, copies=copies),
        SlotCache(SpareMemory(2**20)),
        _prefix_of(model, instruction),
    )
    rows = [torch.randint(50, (length,)) for length in (30, 9, 21)]
    read = [0, 0, 0]
    states = [[], [], []]
    for counts in ([20, 1, 18], [1, 1, 1], [9, 7, 2]):
        step = Step(
            cache,
            [StepRow(prefix, length, count) for length, count in zip(read, counts, strict=True)],
            torch.device("cpu"),
        )
        parts = [row[start : start + count] for row, start, count in zip(rows, read, counts, strict=True)]
        hidden = lean(torch.cat(parts), step)
        for index, part in enumerate(hidden.split(counts)):
            states[index].append(part)
            read[index] += counts[index]
    for row, parts in zip(rows, states, strict=True):
        own = model.model(torch.cat([instruction, row])[None]).last_hidden_state[0, len(instruction) :]
        torch.testing.assert_close(torch.cat(parts), own, rtol=1e-4, atol=1e-4)


def test_other_decoders_are_left_alone() -> None:
    config = GPTNeoXConfig(
        vocab_size=50, hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4
    )
    assert not is_lean(GPTNeoXForCausalLM(config).gpt_neox)
    assert is_lean(make_backbone().model)


def test_spare_memory_comes_back_as_zeros_and_stays_within_its_limit() -> None:
    spare, like = SpareMemory(max_bytes=100 * 4), torch.zeros(1)
    first = spare.zeros((5, 8), like)
    first.fill_(torch.nan)
    address = first.data_ptr()
    spare.give(first)
    again = spare.zeros((3, 2, 4), like)
    assert again.data_ptr() == address
    assert torch.equal(again, torch.zeros(3, 2, 4))
    spare.give(again)
    assert spare.num_bytes == 40 * 4
    assert spare.zeros((41,), like).data_ptr() != address
    assert spare.zeros((4,), like.double()).dtype == torch.float64
    spare.give(torch.ones(70))
    assert spare.num_bytes == 70 * 4
    spare.give(torch.ones(101))
    assert spare.num_bytes == 0
