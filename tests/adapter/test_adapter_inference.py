"""The fused form computes what the adapted linears compute one by one."""

import pytest
import torch
from torch import nn

from ucuie.adapter.inference import FusedMlps

VARIANTS = {
    "soft": {},
    "hard": {"router": "hard"},
    "no shared expert": {"use_shared_expert": False},
    "LoRA": {"use_capability_experts": False},
    "one level": {"num_levels": 1},
    "seven sub-experts of another rank": {"num_sub_experts": 7, "r": 3, "alpha": 5},
    "attention as well": {"target_modules": ["q_proj", "gate_proj", "up_proj", "down_proj"]},
    "no up_proj": {"target_modules": ["gate_proj", "down_proj"]},
}


def make_gates(model, num_rows):
    num_gates = model.base_model._config.layout().num_gates
    return torch.rand(len(model.base_model.adapted_linears), num_rows, num_gates)


def one_by_one(model, tokens, gates):
    with torch.no_grad(), model.base_model.fixed_gates(gates):
        return model(input_ids=tokens).logits


def fused(model, tokens, gates):
    mlps = FusedMlps(model.base_model)
    alive = tuple((gates != 0).flatten(0, 1).any(dim=0).tolist())
    with torch.no_grad(), mlps.running(gates, alive):
        logits = model.get_base_model()(input_ids=tokens).logits
    return len(mlps), logits


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("num_rows", [1, 5])
def test_equal_to_one_by_one(adapted, settings, num_rows):
    model = adapted(**settings)
    tokens = torch.randint(1, 60, (5, 1))
    gates = make_gates(model, num_rows)
    num_fused, logits = fused(model, tokens, gates)
    assert num_fused == (0 if settings.get("target_modules") == ["gate_proj", "down_proj"] else 2)
    torch.testing.assert_close(logits, one_by_one(model, tokens, gates), atol=1e-4, rtol=1e-4)
    assert all("forward" not in vars(module) for module in model.modules())


def test_experts_whose_gate_is_0_are_left_out(adapted):
    model = adapted()
    tokens = torch.randint(1, 60, (5, 3))
    gates = make_gates(model, 1) * torch.tensor([1.0, 0.0, 1.0])
    expected = one_by_one(model, tokens, gates)
    for name, parameter in model.named_parameters():
        # NaN would reach every output if the second capability took part: 5 experts of rank 4 before it.
        if "hierarchical_moe_up" in name:
            with torch.no_grad():
                parameter[:, 4 * 5 : 4 * 9] = torch.nan
    _, logits = fused(model, tokens, gates)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("names", [("locating",), ("judging", "associating"), ()])
def test_capabilities_are_switched_like_elsewhere(adapted, names):
    model = adapted()
    tokens = torch.randint(1, 60, (2, 4))
    gates = make_gates(model, 1)
    with model.base_model.capabilities(*names):
        expected = one_by_one(model, tokens, gates)
        _, logits = fused(model, tokens, gates)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_half_precision_is_as_near_as_one_by_one(adapted):
    model = adapted()
    tokens = torch.randint(1, 60, (30, 1))
    gates = make_gates(model, 1)
    exact = one_by_one(model, tokens, gates)
    half = model.to(torch.bfloat16)
    unfused = one_by_one(half, tokens, gates)
    _, logits = fused(half, tokens, gates)
    assert logits.dtype == torch.bfloat16
    assert (logits - exact).square().mean() < 2 * (unfused - exact).square().mean()


def test_an_error_inside_leaves_the_model_as_it_was(adapted):
    model = adapted()
    gates = make_gates(model, 1)
    with pytest.raises(KeyboardInterrupt), FusedMlps(model.base_model).running(gates, (True, True, True)):
        raise KeyboardInterrupt
    mlps = [module for module in model.modules() if hasattr(module, "act_fn")]
    assert mlps
    assert all(mlp.forward.__func__ is type(mlp).forward for mlp in mlps if isinstance(mlp, nn.Module))
