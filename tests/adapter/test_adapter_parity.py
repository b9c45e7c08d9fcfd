"""The fused form against what it replaces: the backbone, the loop over experts, PEFT's LoRA."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from adapter_cases import Inputs, MakeAdapted
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from ucuie.adapter import HierarchicalMoeConfig, HierarchicalMoeLinear
from ucuie.adapter.routing import Routing, instruction_pooling, token_weighting
from ucuie.adapter.state import RoutingState
from ucuie.lab.reference import add_experts, loop_over_experts

WIDTH_IN, WIDTH_OUT = 12, 10


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "config", [{}, {"router": "hard"}, {"num_levels": 1}, {"use_capability_experts": False}]
)
def test_fresh_adapter_equals_the_backbone_bit_for_bit(
    backbone: LlamaForCausalLM, inputs: Inputs, dtype: torch.dtype, config: dict[str, Any]
) -> None:
    backbone = backbone.to(dtype)
    want = backbone(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    model = get_peft_model(backbone, HierarchicalMoeConfig(**config))
    assert torch.equal(model(**inputs).logits, want)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_fused_equals_the_loop_over_experts_forward_and_backward(data: st.DataObject) -> None:
    config = HierarchicalMoeConfig(
        r=data.draw(st.integers(1, 5), "r"),
        alpha=data.draw(st.sampled_from([1, 8]), "alpha"),
        num_sub_experts=data.draw(st.integers(1, 5), "sub-experts"),
        num_capabilities=data.draw(st.integers(1, 4), "capabilities"),
        use_shared_expert=data.draw(st.booleans(), "shared"),
        router=data.draw(st.sampled_from(["soft", "hard"]), "router"),
    )
    batch, tokens = data.draw(st.integers(1, 3), "B"), data.draw(st.integers(1, 6), "T")
    torch.manual_seed(data.draw(st.integers(0, 99), "seed"))
    num_instruction = torch.randint(1, tokens + 1, (batch, 1))
    num_tokens = torch.maximum(num_instruction, torch.randint(1, tokens + 1, (batch, 1)))
    token_mask = torch.arange(tokens) < num_tokens
    overrides = [None, torch.rand(batch, config.num_capabilities)]
    switches = [None, (True,) * (config.num_capabilities - 1) + (False,)]
    routing = Routing(
        pooling=instruction_pooling(torch.arange(tokens) < num_instruction, token_mask),
        token_weights=token_weighting(token_mask, token_mask),
        labels=torch.randint(2, (batch, config.num_capabilities)).float(),
        override=data.draw(st.sampled_from(overrides), "override"),
        enabled=data.draw(st.sampled_from(switches), "enabled"),
    )
    layer = HierarchicalMoeLinear(nn.Linear(WIDTH_IN, WIDTH_OUT), name="linear", state=RoutingState())
    layer.update_layer("default", config)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    hidden = torch.randn(batch, tokens, WIDTH_IN)

    fused = outputs_and_gradients(layer, HierarchicalMoeLinear.add_experts, hidden, routing)
    loop = outputs_and_gradients(layer, add_experts, hidden, routing)
    for name in loop:
        torch.testing.assert_close(
            fused[name], loop[name], rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def outputs_and_gradients(
    layer: HierarchicalMoeLinear, function: Callable[..., Tensor], hidden: Tensor, routing: Routing
) -> dict[str, Tensor]:
    hidden = hidden.clone().requires_grad_()
    layer.zero_grad()
    output = function(layer, "default", hidden, layer.base_layer(hidden), routing)
    record = layer.state.records["linear"]
    targets = [output.square().mean(), record.usage.square().sum()]
    if record.router_logits is not None:
        targets.append(record.router_logits.square().mean())
    sum(targets).backward()
    gradients = {name: p.grad for name, p in layer.named_parameters() if p.grad is not None}
    values = {"output": output, "usage": record.usage, "gates": record.gates, "hidden": hidden.grad}
    return values | gradients


def test_whole_model_equals_its_loop(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()

    def run() -> list[Tensor]:
        model.zero_grad()
        output = model(**inputs)
        losses = model.base_model.auxiliary_losses()
        (output.loss + losses.bce + losses.entropy).backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.requires_grad]
        return [output.logits, losses.bce, losses.entropy, *gradients]

    fused = run()
    with loop_over_experts(model):
        loop = run()
    torch.testing.assert_close(fused, loop, rtol=1e-4, atol=1e-5)


def test_logits_do_not_depend_on_whether_gradients_are_wanted(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    want = model(**inputs).logits
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, want)


def test_one_level_is_a_softmax_over_all_experts() -> None:
    config = HierarchicalMoeConfig(num_levels=1, num_capabilities=2, num_sub_experts=3)
    layer = HierarchicalMoeLinear(nn.Linear(WIDTH_IN, WIDTH_OUT), name="linear", state=RoutingState())
    layer.update_layer("default", config)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    hidden = torch.randn(2, 5, WIDTH_IN)

    down, up = layer.hierarchical_moe_down["default"], layer.hierarchical_moe_up["default"]
    num_ranks = 4 * (1 + 2 * 3)
    assert down.shape == (num_ranks + 2 * 3, WIDTH_IN)
    weights = (hidden @ down[num_ranks:].T + layer.hierarchical_moe_bias["default"]).softmax(dim=-1)
    weights = torch.cat([torch.ones(2, 5, 1), weights], dim=-1)
    want = layer.base_layer(hidden)
    experts = zip(down[:num_ranks].split(4), up.split(4, dim=1), strict=True)
    for index, (one_down, one_up) in enumerate(experts):
        want = want + weights[..., index, None] * (hidden @ one_down.T @ one_up.T) * 8 / 4
    torch.testing.assert_close(layer(hidden), want)


def test_shared_expert_alone_is_peft_lora(
    adapted: MakeAdapted, backbone: LlamaForCausalLM, inputs: Inputs
) -> None:
    model = adapted(r=6, alpha=12, use_capability_experts=False)
    targets = ["gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=6, lora_alpha=12, target_modules=targets, task_type="CAUSAL_LM")
    lora = get_peft_model(backbone, config)
    state = dict(model.named_parameters())
    for name, parameter in lora.named_parameters():
        for ours, theirs in (("hierarchical_moe_down", "lora_A"), ("hierarchical_moe_up", "lora_B")):
            if theirs in name:
                parameter.data = state[name.replace(theirs, ours).removesuffix(".weight")].data
    plain = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    torch.testing.assert_close(model(**plain).logits, lora(**plain).logits)


@pytest.mark.parametrize(
    ("config", "want"),
    [
        # Every linear: 4 ranks per expert, each of width in + width out, then routers of width in + bias.
        ({}, 13 * 4 * (16 + 24) + 15 * 17),
        ({"router": "hard"}, 13 * 4 * (16 + 24) + 12 * 17),
        ({"num_levels": 1}, 13 * 4 * (16 + 24) + 12 * 17),
        ({"use_shared_expert": False}, 12 * 4 * (16 + 24) + 15 * 17),
        ({"use_capability_experts": False}, 4 * (16 + 24)),
        ({"num_sub_experts": 1}, 4 * 4 * (16 + 24) + 6 * 17),
        ({"num_sub_experts": 8}, 25 * 4 * (16 + 24) + 27 * 17),
    ],
)
def test_every_variant_has_the_parameters_it_needs(
    backbone: LlamaForCausalLM, config: dict[str, Any], want: int
) -> None:
    model = get_peft_model(backbone, HierarchicalMoeConfig(target_modules=["gate_proj"], **config))
    assert model.get_nb_trainable_parameters()[0] == 2 * want


def test_llama_2_7b_has_the_papers_84_million_parameters() -> None:
    with torch.device("meta"):
        model = get_peft_model(LlamaForCausalLM(LlamaConfig()), HierarchicalMoeConfig())
    trainable, total = model.get_nb_trainable_parameters()
    assert trainable == 84_616_608
    assert f"{trainable / total:.3%}" == "1.240%"
