"""The fused form computes what the adapted linears compute one by one."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from adapter_cases import MakeAdapted
from peft import PeftModel
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ucuie.engine.fused import FusedMlps

copying = pytest.mark.parametrize("copies", [True, False], ids=["copies", "no copies"])

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


def make_gates(model: PeftModel, num_rows: int) -> Tensor:
    num_gates = model.peft_config["default"].layout().num_gates
    return torch.rand(len(model.base_model.adapted_linears), num_rows, num_gates)


def one_by_one(model: PeftModel, tokens: Tensor, gates: Tensor) -> Tensor:
    with torch.no_grad(), model.base_model.fixed_gates(gates):
        return model(input_ids=tokens).logits


def fused(model: PeftModel, tokens: Tensor, gates: Tensor, *, copies: bool) -> tuple[int, Tensor]:
    mlps = FusedMlps(model.base_model, copies=copies)
    alive = tuple((gates != 0).flatten(0, 1).any(dim=0).tolist())
    with torch.no_grad(), mlps.running(gates, alive):
        logits = model.get_base_model()(input_ids=tokens).logits
    return len(mlps), logits


@copying
@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("num_rows", [1, 5])
def test_equal_to_one_by_one(
    adapted: MakeAdapted, settings: dict[str, Any], num_rows: int, copies: bool
) -> None:
    model = adapted(**settings)
    tokens = torch.randint(1, 60, (5, 1))
    gates = make_gates(model, num_rows)
    num_fused, logits = fused(model, tokens, gates, copies=copies)
    assert num_fused == (0 if settings.get("target_modules") == ["gate_proj", "down_proj"] else 2)
    torch.testing.assert_close(logits, one_by_one(model, tokens, gates), atol=1e-4, rtol=1e-4)
    assert all("forward" not in vars(module) for module in model.modules())


@copying
def test_experts_whose_gate_is_0_are_left_out(adapted: MakeAdapted, copies: bool) -> None:
    model = adapted()
    tokens = torch.randint(1, 60, (5, 3))
    gates = make_gates(model, 1) * torch.tensor([1.0, 0.0, 1.0])
    expected = one_by_one(model, tokens, gates)
    for name, parameter in model.named_parameters():
        # NaN would reach every output if the second capability took part: 5 experts of rank 4 before it.
        if "hierarchical_moe_up" in name:
            with torch.no_grad():
                parameter[:, 4 * 5 : 4 * 9] = torch.nan
    _, logits = fused(model, tokens, gates, copies=copies)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@copying
@pytest.mark.parametrize("names", [("locating",), ("judging", "associating"), ()])
def test_capabilities_are_switched_like_elsewhere(
    adapted: MakeAdapted, names: tuple[str, ...], copies: bool
) -> None:
    model = adapted()
    tokens = torch.randint(1, 60, (2, 4))
    gates = make_gates(model, 1)
    with model.base_model.capabilities(*names):
        expected = one_by_one(model, tokens, gates)
        _, logits = fused(model, tokens, gates, copies=copies)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@copying
def test_half_precision_is_as_near_as_one_by_one(adapted: MakeAdapted, copies: bool) -> None:
    model = adapted()
    tokens = torch.randint(1, 60, (30, 1))
    gates = make_gates(model, 1)
    exact = one_by_one(model, tokens, gates)
    half = model.to(torch.bfloat16)
    unfused = one_by_one(half, tokens, gates)
    _, logits = fused(half, tokens, gates, copies=copies)
    assert logits.dtype == torch.bfloat16
    assert (logits - exact).square().mean() < 2 * (unfused - exact).square().mean()


def test_an_error_inside_leaves_the_model_as_it_was(adapted: MakeAdapted) -> None:
    model = adapted()
    gates = make_gates(model, 1)
    with pytest.raises(KeyboardInterrupt), FusedMlps(model.base_model).running(gates, (True, True, True)):
        raise KeyboardInterrupt
    mlps = [module for module in model.modules() if hasattr(module, "act_fn")]
    assert mlps
    assert all(mlp.forward.__func__ is type(mlp).forward for mlp in mlps if isinstance(mlp, nn.Module))


class _Operations(TorchDispatchMode):
    """Counts what a GPU would have to launch: operations that write something."""

    VIEWS = (
        "view",
        "slice",
        "split",
        "select",
        "unsqueeze",
        "transpose",
        "expand",
        "reshape",
        "flatten",
        ".t.",
    )

    def __init__(self) -> None:
        super().__init__()
        self.names = []

    def __torch_dispatch__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if not any(view in str(function) for view in self.VIEWS):
            self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def test_without_copies_an_adapted_mlp_has_eleven_operations_more_than_a_bare_one(
    adapted: MakeAdapted,
) -> None:
    """Of 7 billion parameters a step takes about 4 ms on a GPU, and each operation about 2 microseconds."""
    model = adapted().to(torch.bfloat16)
    mlps = FusedMlps(model.base_model, copies=False)
    [first, *_] = [module for module in model.modules() if hasattr(module, "act_fn")]
    hidden = torch.randn(3, model.config.hidden_size, dtype=torch.bfloat16)
    counts = []
    for forward, gates in ((first.forward, None), (mlps.forward_of(first), make_gates(model, 1))):
        routed = model.disable_adapter() if gates is None else mlps.routed(gates, (True, True, True))
        with torch.inference_mode(), routed:
            forward(hidden)
            with _Operations() as operations:
                forward(hidden)
        counts.append(operations.names)
    assert len(counts[0]) == 5
    assert len(counts[1]) == 5 + 11, counts[1]


def test_without_copies_the_frozen_weights_are_those_of_the_model(adapted: MakeAdapted) -> None:
    model = adapted()
    tokens, gates = torch.randint(1, 60, (5, 1)), make_gates(model, 1)
    mlps = FusedMlps(model.base_model, copies=False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "base_layer" in name:
                parameter.mul_(1.5)
        with mlps.running(gates, (True, True, True)):
            logits = model.get_base_model()(input_ids=tokens).logits
    torch.testing.assert_close(logits, one_by_one(model, tokens, gates), atol=1e-4, rtol=1e-4)
