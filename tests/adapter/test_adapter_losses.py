"""Auxiliary losses and routing statistics, against numbers counted by hand."""

from math import log
from typing import Any

import pytest
import torch
from adapter_cases import Inputs, MakeAdapted
from peft import PeftModel

PROJECTIONS = ("gate_proj", "up_proj", "down_proj")
LINEARS = [f"model.layers.{layer}.mlp.{name}" for layer in (0, 1) for name in PROJECTIONS]


def set_routers(model: PeftModel, bias: list[float]) -> None:
    """Make every router say `bias`, whatever it sees: 12 sub-expert logits, then 3 capability logits."""
    for name, parameter in model.named_parameters():
        if "hierarchical_moe_down" in name:
            parameter.data[-len(bias) :] = 0
        if "hierarchical_moe_bias" in name:
            parameter.data = torch.tensor(bias)


def test_even_sub_experts_have_the_least_entropy_loss(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    set_routers(model, [0.0] * 15)
    model(**inputs)
    losses = model.base_model.auxiliary_losses()
    torch.testing.assert_close(losses.entropy, torch.tensor(-log(4)))
    torch.testing.assert_close(losses.bce, torch.tensor(log(2)))


def test_one_sub_expert_alone_has_entropy_loss_zero(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    set_routers(model, [200.0, 0.0, 0.0, 0.0] * 3 + [0.0] * 3)
    model(**inputs)
    torch.testing.assert_close(model.base_model.auxiliary_losses().entropy, torch.tensor(0.0))
    usage = model.base_model.routing_statistics()[LINEARS[0]].sub_expert_weights
    torch.testing.assert_close(usage, torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(3, -1))


def test_bce_is_counted_by_hand(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    # sigmoid(ln 3) = 3/4 for judging, 1/2 for the others; labels of the three rows: 110, 111, 010.
    set_routers(model, [0.0] * 12 + [log(3), 0.0, 0.0])
    model(**inputs)
    judging = -(log(3 / 4) + log(3 / 4) + log(1 / 4))
    others = -6 * log(1 / 2)
    torch.testing.assert_close(model.base_model.auxiliary_losses().bce, torch.tensor((judging + others) / 9))


def test_losses_are_means_over_linears(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    model(**inputs)
    records = model.base_model.state.records
    entropies = [(record.usage * record.usage.log()).sum(dim=-1).mean() for record in records.values()]
    torch.testing.assert_close(model.base_model.auxiliary_losses().entropy, torch.stack(entropies).mean())


def test_padding_does_not_count_as_use_of_a_sub_expert(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    model(**inputs)
    want = model.base_model.auxiliary_losses()
    more = {name: torch.nn.functional.pad(inputs[name], (0, 9)) for name in ("input_ids", "attention_mask")}
    mask = torch.nn.functional.pad(inputs["instruction_mask"], (0, 9))
    model(**more, instruction_mask=mask, capability_labels=inputs["capability_labels"])
    got = model.base_model.auxiliary_losses()
    torch.testing.assert_close([got.bce, got.entropy], [want.bce, want.entropy])


@pytest.mark.parametrize(
    "settings", [{"router": "hard"}, {"num_levels": 1}, {"use_capability_experts": False}]
)
def test_variants_without_a_capability_router_have_no_bce(
    adapted: MakeAdapted, inputs: Inputs, settings: dict[str, Any]
) -> None:
    model = adapted(**settings)
    model(**inputs)
    losses = model.base_model.auxiliary_losses()
    assert losses.bce == 0
    assert (losses.entropy == 0) == ("use_capability_experts" in settings)


def test_one_level_entropy_is_over_all_experts(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted(num_levels=1)
    set_routers(model, [0.0] * 12)
    model(**inputs)
    torch.testing.assert_close(model.base_model.auxiliary_losses().entropy, torch.tensor(-log(12)))
    statistics = model.base_model.routing_statistics()[LINEARS[0]]
    assert statistics.capability_gates is None
    torch.testing.assert_close(statistics.sub_expert_weights, torch.full((3, 4), 1 / 12))


def test_statistics_name_every_linear_and_carry_no_history(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    model(**inputs)
    statistics = model.base_model.routing_statistics()
    assert list(statistics) == LINEARS == model.base_model.adapted_linears
    for entry in statistics.values():
        assert entry.capability_gates.shape == (3, 3)
        assert not entry.capability_gates.requires_grad
        torch.testing.assert_close(entry.sub_expert_weights.sum(dim=-1), torch.ones(3))


def test_labels_without_an_instruction_are_an_error_not_a_missing_loss(
    adapted: MakeAdapted, inputs: Inputs
) -> None:
    model = adapted()
    del inputs["instruction_mask"]
    model(**inputs, capability_gates=torch.ones(3, 3))
    with pytest.raises(RuntimeError, match="capability_labels came without instruction_mask"):
        model.base_model.auxiliary_losses()


def test_losses_before_any_forward_are_an_error(adapted: MakeAdapted) -> None:
    with pytest.raises(RuntimeError, match="run one first"):
        adapted().base_model.auxiliary_losses()
