"""The adapter as the formulas read: a loop over experts, one product after the other.

In and out as in the fused form, which it is the measure of: tests compare both, the bench shows what
fusing saves. Never used otherwise.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from ucuie.adapter.layer import HierarchicalMoeLinear
from ucuie.adapter.routing import Decision, Routing


def add_experts(
    layer: HierarchicalMoeLinear, adapter_name: str, hidden: Tensor, output: Tensor, routing: Routing
) -> Tensor:
    """`W0 h + E_S(h) + sum_i g'_i E_i(h)` from the base layer's output `W0 h`; two levels, soft or hard."""
    layout = layer.layout[adapter_name]
    num_capabilities, num_sub_experts = layout.num_capabilities, layout.num_sub_experts
    down = list(layer.hierarchical_moe_down[adapter_name][: layout.num_ranks].split(layout.rank))
    up = list(layer.hierarchical_moe_up[adapter_name].split(layout.rank, dim=1))

    if layout.has_shared_expert:
        output = output + hidden @ down.pop(0).t() @ up.pop(0).t() * layout.scaling
    if num_capabilities == 0:
        return output

    routers = layer.hierarchical_moe_down[adapter_name][layout.num_ranks :]
    biases = layer.hierarchical_moe_bias[adapter_name]
    gates = routing.given_gates(layer.name)
    router_logits = None
    if layout.routes_capabilities and routing.pooling is not None:
        router_logits = routing.pool(hidden) @ routers[-num_capabilities:].t() + biases[-num_capabilities:]
        gates = torch.sigmoid(router_logits) if gates is None else gates
    gates = routing.labels if gates is None else gates
    assert gates is not None
    if routing.enabled is not None:
        gates = gates * gates.new_tensor(routing.enabled)

    usages = []
    for capability in range(num_capabilities):
        rows = slice(capability * num_sub_experts, (capability + 1) * num_sub_experts)
        weights = torch.softmax(hidden @ routers[rows].t() + biases[rows], dim=-1)
        expert = torch.zeros_like(output)
        for sub_expert in range(num_sub_experts):
            index = capability * num_sub_experts + sub_expert
            expanded = hidden @ down[index].t() @ up[index].t() * layout.scaling
            expert = expert + weights[..., sub_expert, None] * expanded
        output = output + routing.spread(gates)[..., capability, None] * expert
        usages.append(weights.flatten(0, 1))
    if routing.token_weights is not None:
        usage = torch.stack([routing.token_weights @ weights for weights in usages])
        layer.state.records[layer.name] = Decision(router_logits, gates, usage)
    return output


@contextmanager
def loop_over_experts(model: nn.Module) -> Iterator[None]:
    """Make the adapted linears of `model` loop over their experts while the context is open."""
    layers = [module for module in model.modules() if isinstance(module, HierarchicalMoeLinear)]
    for layer in layers:
        layer.__dict__["add_experts"] = partial(add_experts, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.__dict__["add_experts"]
