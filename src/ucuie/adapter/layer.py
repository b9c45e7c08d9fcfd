"""A frozen linear with its hierarchical mixture of experts, in the fused form.

In: hidden states (B, T, D) and the routing of the forward. Out: (B, T, K) and one `Decision`. All experts
and routers of a linear are rows of one matrix, so the adapter costs two matrix products. Knows nothing
about where a forward's routing comes from.
"""

import math
from functools import partial
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn import functional as F

from ucuie.adapter.config import HierarchicalMoeConfig, Layout
from ucuie.adapter.routing import Decision, MissingGatesError, Routing, enabled_gates
from ucuie.adapter.state import RoutingState

ROUTER_INIT_SCALE = 0.1
"""Routers start at normal(0, 0.1 / sqrt(D)): logits near 0.1 for inputs of unit mean square."""


class HierarchicalMoeLinear(BaseTunerLayer, nn.Module):  # type: ignore[misc]  # PEFT is not type-checked
    """`W0 h + E_S(h) + sum_i g'_i E_i(h)` (UC-UIE, Section 3.4).

    Parameters per adapter, rows as `Layout` says (52 + 15 of them on the paper's settings):
        hierarchical_moe_down (R + C * Q + C, D): the paper's B_S and B_i,q; below them W_i and W_G.
        hierarchical_moe_bias (C * Q + C,): b_i and b_G.
        hierarchical_moe_up (K, R): the paper's A_S and A_i,q.

    Args:
        base_layer: the frozen linear, possibly quantised; anything with `in_features`, `out_features`.
        name: the linear's name in the backbone, under which gates are found and decisions recorded.
        state: shared by all adapted linears of the backbone.
    """

    adapter_layer_names = ("hierarchical_moe_down", "hierarchical_moe_bias", "hierarchical_moe_up")
    other_param_names = ("layout",)

    def __init__(self, base_layer: nn.Module, *, name: str, state: RoutingState) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.name = name
        self.state = state
        self.in_features: int = self._peft.get_base_layer().in_features
        self.out_features: int = self._peft.get_base_layer().out_features
        self.layout: dict[str, Layout] = {}
        self.hierarchical_moe_down = nn.ParameterDict()
        self.hierarchical_moe_bias = nn.ParameterDict()
        self.hierarchical_moe_up = nn.ParameterDict()

    @property
    def _peft(self) -> Any:
        """This layer with what it inherits from PEFT, which a type checker cannot see."""
        return self

    def update_layer(self, adapter_name: str, config: HierarchicalMoeConfig) -> None:
        """Add fresh parameters for the adapter `adapter_name`."""
        layout = config.layout()
        num_ranks, *num_logits = layout.columns
        self.layout[adapter_name] = layout
        device, _ = self._peft._get_base_layer_device_and_dtype(self._peft.get_base_layer())
        empty = partial(torch.empty, device=device)
        down, up = empty(sum(layout.columns), self.in_features), empty(self.out_features, num_ranks)
        self.hierarchical_moe_down[adapter_name] = nn.Parameter(down)
        self.hierarchical_moe_up[adapter_name] = nn.Parameter(up)
        if sum(num_logits):
            self.hierarchical_moe_bias[adapter_name] = nn.Parameter(empty(sum(num_logits)))
        self.reset_parameters(adapter_name)
        self._peft._move_adapter_to_device_of_base_layer(adapter_name)
        self._peft.set_adapter(self._peft.active_adapters, inference_mode=config.inference_mode)

    @torch.no_grad()
    def reset_parameters(self, adapter_name: str) -> None:
        """Start as LoRA does: down-projections Kaiming-uniform, up-projections 0; routers nearly even."""
        num_ranks = self.layout[adapter_name].num_ranks
        down = self.hierarchical_moe_down[adapter_name]
        nn.init.kaiming_uniform_(down[:num_ranks], a=math.sqrt(5))
        nn.init.normal_(down[num_ranks:], std=ROUTER_INIT_SCALE / math.sqrt(self.in_features))
        nn.init.zeros_(self.hierarchical_moe_up[adapter_name])
        if adapter_name in self.hierarchical_moe_bias:
            nn.init.zeros_(self.hierarchical_moe_bias[adapter_name])

    @property
    def adapter_in_use(self) -> str | None:
        """The adapter that acts on this linear, if any.

        Raises:
            ValueError: several are active; their gates and records would be mixed up.
        """
        if self._peft.disable_adapters:
            return None
        names = [name for name in self._peft.active_adapters if name in self.layout]
        if len(names) > 1:
            raise ValueError(f"one adapter at a time; active are {', '.join(map(repr, names))}")
        return names[0] if names else None

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Map (B, T, D) to (B, T, K)."""
        output: Tensor = self.base_layer(hidden, *args, **kwargs)
        adapter_name = self.adapter_in_use
        if adapter_name is None:
            return output
        return self.add_experts(adapter_name, hidden, output, self.state.routing)

    def add_experts(self, adapter_name: str, hidden: Tensor, output: Tensor, routing: Routing) -> Tensor:
        """Add the experts' (B, T, K) to the base layer's `output`, in two matrix products.

        Products run in the dtype of `hidden` and `output`, softmax and sigmoid in float32.

        Raises:
            ValueError: the backbone flattened its batch, so rows can no longer be told apart.
        """
        if hidden.dim() != 3:
            raise ValueError(f"{self.name} got {tuple(hidden.shape)}, wanted (batch, tokens, width)")
        batch, tokens, width = hidden.shape
        layout = self.layout[adapter_name]
        down = self.hierarchical_moe_down[adapter_name].to(hidden.dtype)
        up = self.hierarchical_moe_up[adapter_name].to(output.dtype)
        projected = F.linear(hidden.reshape(batch * tokens, width), down)
        ranks, choice_logits, gate_logits = projected.split_with_sizes(layout.columns, dim=-1)
        if layout.num_routed_experts == 0:
            mixed = ranks * layout.scaling
        else:
            bias = self.hierarchical_moe_bias[adapter_name]
            choice_bias, gate_bias = bias[: layout.num_routed_experts], bias[layout.num_routed_experts :]
            choice_logits = (choice_logits.float() + choice_bias).view(batch, tokens, *layout.choices)
            weights = choice_logits.softmax(dim=-1)
            router_logits = None
            if routing.pooling is not None and layout.routes_capabilities:
                # The mean over the instruction commutes with the router: pool C numbers per token, not D.
                gate_logits = gate_logits.float().view(batch, tokens, -1)
                router_logits = routing.pool(gate_logits) + gate_bias
            gates = self._gates(layout, routing, router_logits, hidden.device)
            self._record(routing, router_logits, gates, weights)
            scales = _expert_scales(layout, weights, None if gates is None else routing.spread(gates))
            mixed = ranks.view(-1, layout.num_experts, layout.rank) * scales.to(ranks.dtype)
        mixed = mixed.view(-1, layout.num_ranks).to(output.dtype)
        flat = output.view(batch * tokens, -1)
        if torch.is_grad_enabled():
            return torch.addmm(flat, mixed, up.t()).view_as(output)
        # Nobody keeps the base layer's output at inference: adding in place saves a decode step the copy.
        return flat.addmm_(mixed, up.t()).view_as(output)

    def _gates(
        self, layout: Layout, routing: Routing, router_logits: Tensor | None, device: torch.device
    ) -> Tensor | None:
        """Capability gates g' (B, S or 1, C), float32; None if the layout has none.

        Raises:
            MissingGatesError: nothing says what the gates are.
            ValueError: gates were given for another number of capabilities.
        """
        if layout.num_gates == 0:
            return None
        gates = routing.given_gates(self.name)
        if gates is None and not layout.routes_capabilities:
            gates = routing.labels
        elif gates is None and router_logits is not None:
            gates = router_logits.sigmoid()
        if gates is None:
            raise MissingGatesError(_missing_gates(layout, self.name))
        if gates.shape[-1] != layout.num_gates:
            raise ValueError(f"gates for {gates.shape[-1]} capabilities, {self.name} has {layout.num_gates}")
        return enabled_gates(gates.to(device=device, dtype=torch.float32), routing.enabled)

    def _record(
        self, routing: Routing, router_logits: Tensor | None, gates: Tensor | None, weights: Tensor
    ) -> None:
        if routing.token_weights is None:
            return
        # Elementwise, since autocast would round a matrix product to half precision.
        usage = (routing.token_weights.view(-1, 1, 1) * weights.flatten(0, 1)).sum(dim=0)
        kept = weights.detach() if self.state.keeps_tokens else None
        self.state.records[self.name] = Decision(router_logits, gates, usage, kept)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Refuse with a NotImplementedError that says why."""
        raise NotImplementedError(
            "a hierarchical mixture of experts cannot be merged into the weights: how much each expert adds "
            "depends on the instruction and on every token"
        )

    def unmerge(self) -> None:
        """Do nothing: there is never anything merged."""

    def __repr__(self) -> str:
        return "hierarchical_moe." + super().__repr__()


def _expert_scales(layout: Layout, weights: Tensor, gates: Tensor | None) -> Tensor:
    """The factors on every expert's ranks, `alpha / r` included: (B * T, experts, 1) float32.

    `weights` is the routers' softmax, (B, T, *choices); `gates` is (B or 1, T or 1, C), None with one level.
    """
    factors = layout.scaling if gates is None else (gates * layout.scaling).unsqueeze(-1)
    scales = (weights * factors).view(-1, layout.num_routed_experts)
    if layout.has_shared_expert:
        scales = F.pad(scales, (1, 0), value=layout.scaling)
    return scales.unsqueeze(-1)


def _missing_gates(layout: Layout, name: str) -> str:
    if not layout.routes_capabilities:
        return f"{name}: a hard router takes its gates from the rows' labels; pass capability_labels (B, C)"
    return (
        f"{name}: no gates. Pass instruction_mask (B, T), True on the instruction's tokens, with the forward "
        "that reads the instruction; for later forwards on its KV cache compute_gates() once and run inside "
        "fixed_gates(); or pass capability_gates (B, C)"
    )
