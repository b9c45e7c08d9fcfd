"""Generation: cached equals uncached, and no decode step without gates or with another call's."""

import pytest
import torch
from adapter_cases import Inputs, MakeAdapted
from peft import PeftModel
from transformers import DynamicCache, GenerationConfig

from ucuie.adapter import MissingGatesError

GREEDY = {"max_new_tokens": 6, "do_sample": False}


@pytest.fixture
def prompt(inputs: Inputs) -> Inputs:
    """Three prompts padded on the left, as generation wants them."""
    attention_mask = torch.ones(3, 10, dtype=torch.long)
    attention_mask[1, :2] = 0
    instruction_mask = (torch.arange(10) < torch.tensor([[4], [7], [3]])) & attention_mask.bool()
    return {
        "input_ids": inputs["input_ids"].masked_fill(attention_mask == 0, 0),
        "attention_mask": attention_mask,
        "instruction_mask": instruction_mask,
    }


def greedily_uncached(model: PeftModel, prompt: Inputs, num_tokens: int) -> torch.Tensor:
    """Greedy tokens from full forwards that recompute everything at every step."""
    prompt = dict(prompt)
    for _ in range(num_tokens):
        position_ids = (prompt["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
        token = model(**prompt, position_ids=position_ids, use_cache=False).logits[:, -1:].argmax(dim=-1)
        prompt["input_ids"] = torch.cat([prompt["input_ids"], token], dim=1)
        for name, value in (("attention_mask", 1), ("instruction_mask", 0)):
            prompt[name] = torch.nn.functional.pad(prompt[name], (0, 1), value=value)
    return prompt["input_ids"]


@torch.no_grad()
@pytest.mark.parametrize("use_cache", [True, False])
def test_generate_equals_full_forwards(adapted: MakeAdapted, prompt: Inputs, use_cache: bool) -> None:
    model = adapted()
    want = greedily_uncached(model, prompt, 6)
    assert torch.equal(model.generate(**prompt, **GREEDY, use_cache=use_cache), want)


def test_a_batch_generates_what_its_rows_do_alone(adapted: MakeAdapted, prompt: Inputs) -> None:
    model = adapted()
    together = model.generate(**prompt, **GREEDY)
    for row in range(3):
        alone = model.generate(**{name: value[row : row + 1] for name, value in prompt.items()}, **GREEDY)
        assert torch.equal(alone[0], together[row])


@torch.no_grad()
def test_decode_steps_give_the_logits_of_a_full_forward(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    row = {name: inputs[name][:1] for name in ("input_ids", "instruction_mask")}
    want = model(**row).logits
    gates = model.base_model.compute_gates(row["input_ids"][:, :4], None, row["instruction_mask"][:, :4])
    cache = DynamicCache()
    with model.base_model.fixed_gates(gates):
        parts = [model(input_ids=row["input_ids"][:, :6], past_key_values=cache).logits]
        for index in range(6, 10):
            step = row["input_ids"][:, index : index + 1]
            parts.append(model(input_ids=step, past_key_values=cache).logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), want, rtol=1e-4, atol=1e-5)


def test_a_decode_step_leaves_the_statistics_of_the_prefill(adapted: MakeAdapted, prompt: Inputs) -> None:
    model = adapted()
    model.generate(**prompt, **GREEDY)
    statistics = model.base_model.routing_statistics()
    gates = model.base_model.compute_gates(**prompt)
    got = torch.stack([entry.capability_gates for entry in statistics.values()])
    torch.testing.assert_close(got, gates)


@pytest.mark.parametrize("options", [{"num_beams": 3}, {"num_beams": 4, "num_return_sequences": 2}])
def test_beams_share_the_gates_of_their_prompt(
    adapted: MakeAdapted, prompt: Inputs, options: dict[str, int]
) -> None:
    model = adapted()
    got = model.generate(**prompt, **GREEDY, **options)
    with model.base_model.fixed_gates(model.base_model.compute_gates(**prompt)):
        plain = {name: prompt[name] for name in ("input_ids", "attention_mask")}
        assert torch.equal(model.generate(**plain, **GREEDY, **options), got)
    options = GREEDY | options
    rows = [{name: value[row : row + 1] for name, value in prompt.items()} for row in range(3)]
    assert torch.equal(got, torch.cat([model.generate(**row, **options) for row in rows]))


def test_generate_with_given_gates_uses_them_at_every_step(adapted: MakeAdapted, prompt: Inputs) -> None:
    model = adapted()
    gates = torch.tensor([[1.0, 0.0, 0.0]]).expand(3, -1)
    plain = {name: prompt[name] for name in ("input_ids", "attention_mask")}
    with model.base_model.fixed_gates(gates.expand(6, -1, -1)):
        want = model.generate(**plain, **GREEDY)
    assert torch.equal(model.generate(**plain, **GREEDY, capability_gates=gates), want)
    assert torch.equal(model.generate(**prompt, **GREEDY, capability_gates=gates), want)


def test_generate_with_two_kinds_of_gates_is_refused(adapted: MakeAdapted, prompt: Inputs) -> None:
    model = adapted()
    with model.base_model.fixed_gates(torch.ones(6, 1, 3)), pytest.raises(ValueError, match="one of the two"):
        model.generate(**prompt, **GREEDY, capability_gates=torch.ones(3, 3))


@pytest.mark.parametrize("with_mask", [True, False])
def test_hard_router_generates_with_labels(adapted: MakeAdapted, prompt: Inputs, with_mask: bool) -> None:
    model = adapted(router="hard")
    labels = torch.tensor([[1.0, 1.0, 0.0]]).expand(3, -1)
    plain = {name: prompt[name] for name in ("input_ids", "attention_mask")}
    with model.base_model.fixed_gates(labels.expand(6, -1, -1)):
        want = model.generate(**plain, **GREEDY)
    given = prompt if with_mask else plain
    assert torch.equal(model.generate(**given, **GREEDY, capability_labels=labels), want)


def test_generate_without_instruction_says_what_to_pass(adapted: MakeAdapted, prompt: Inputs) -> None:
    del prompt["instruction_mask"]
    with pytest.raises(MissingGatesError, match="instruction_mask"):
        adapted().generate(**prompt, **GREEDY)


def test_gates_of_one_generate_do_not_reach_the_next_call(adapted: MakeAdapted, prompt: Inputs) -> None:
    model = adapted()
    model.generate(**prompt, **GREEDY)
    with pytest.raises(MissingGatesError):
        model(input_ids=prompt["input_ids"])
    with pytest.raises(ValueError, match="instruction_mask is"):
        model.generate(**prompt | {"instruction_mask": prompt["instruction_mask"][:, :9]}, **GREEDY)
    with pytest.raises(MissingGatesError):
        model(input_ids=prompt["input_ids"])


def test_prefill_in_chunks_is_refused(adapted: MakeAdapted, prompt: Inputs) -> None:
    model = adapted()
    with pytest.raises(ValueError, match="prefill_chunk_size=4"):
        model.generate(**prompt, **GREEDY, prefill_chunk_size=4)
    with pytest.raises(ValueError, match="prefill_chunk_size=4"):
        model.generate(**prompt, generation_config=GenerationConfig(prefill_chunk_size=4, max_new_tokens=2))


@torch.no_grad()
def test_an_instruction_on_top_of_a_filled_cache_is_refused(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    cache = DynamicCache()
    row = {name: inputs[name][:1, :4] for name in ("input_ids", "instruction_mask")}
    model(**row, past_key_values=cache)
    with pytest.raises(ValueError, match="filled KV cache"):
        model(**row, past_key_values=cache)
