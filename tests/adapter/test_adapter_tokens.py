"""Routing token by token: what the statistics are the mean of."""

import pytest
import torch
from adapter_cases import MakeAdapted

TOKENS = torch.tensor([[3, 9, 27, 17, 51, 25]])
INSTRUCTION = torch.tensor([[1, 1, 1, 0, 0, 0]]).bool()


@pytest.mark.parametrize("settings", [{}, {"num_levels": 1}, {"router": "hard"}], ids=str)
def test_the_mean_over_tokens_is_what_the_statistics_say(
    adapted: MakeAdapted, settings: dict[str, object]
) -> None:
    model = adapted(**settings).eval()
    routing = {"instruction_mask": INSTRUCTION, "capability_labels": torch.tensor([[1.0, 0.0, 1.0]])}
    by_token = model.base_model.route_tokens(TOKENS, **routing)
    with torch.no_grad():
        model(TOKENS, **routing)
    statistics = model.base_model.routing_statistics()
    assert by_token.keys() == statistics.keys()
    for name, one in by_token.items():
        expected = statistics[name]
        assert one.sub_expert_weights.shape == (1, 6, 3, 4)
        torch.testing.assert_close(one.sub_expert_weights[0].mean(dim=0), expected.sub_expert_weights)
        assert (one.capability_gates is None) == (expected.capability_gates is None)
        if one.capability_gates is not None:
            torch.testing.assert_close(one.capability_gates, expected.capability_gates)


def test_weights_of_a_prefix_do_not_depend_on_what_follows(adapted: MakeAdapted) -> None:
    tuner = adapted().eval().base_model
    whole = tuner.route_tokens(TOKENS, instruction_mask=INSTRUCTION)
    part = tuner.route_tokens(TOKENS[:, :4], instruction_mask=INSTRUCTION[:, :4])
    for name, one in part.items():
        torch.testing.assert_close(one.sub_expert_weights, whole[name].sub_expert_weights[:, :4])


def test_nothing_is_kept_afterwards(adapted: MakeAdapted) -> None:
    model = adapted().eval()
    model.base_model.route_tokens(TOKENS, instruction_mask=INSTRUCTION)
    assert not model.base_model.state.keeps_tokens
    with torch.no_grad():
        model(TOKENS, instruction_mask=INSTRUCTION)
    assert all(record.weights is None for record in model.base_model.state.records.values())


def test_capabilities_switched_off_show_closed_gates(adapted: MakeAdapted) -> None:
    tuner = adapted().eval().base_model
    with tuner.capabilities("locating"):
        routing = tuner.route_tokens(TOKENS, instruction_mask=INSTRUCTION)
    gates = torch.stack([one.capability_gates[0] for one in routing.values()])
    assert (gates[:, [0, 2]] == 0).all()
    assert (gates[:, 1] > 0).all()


def test_plain_lora_routes_nothing(adapted: MakeAdapted) -> None:
    tuner = adapted(use_capability_experts=False).eval().base_model
    assert tuner.capability_names == ()
    with pytest.raises(ValueError, match="no capability experts"):
        tuner.route_tokens(TOKENS, instruction_mask=INSTRUCTION)
