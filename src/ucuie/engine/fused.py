"""The adapter in the form that is fast when nothing is learned: exact, with fewer and larger products.

In: a backbone whose MLPs (`gate_proj`, `up_proj`, `down_proj`, `act_fn`) are adapted. Out: forwards of these
MLPs in which gate_proj and up_proj share their products and the experts of capabilities whose gate is 0 are
left out. Where frozen weights may be copied, the shared expert is merged into them; where not, it goes along
with the experts beside it. The adapter's weights are copied: make a new `FusedMlps` after they changed. Gates
come ready; nothing is recorded, nothing has a gradient.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import lru_cache
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn

from ucuie.adapter.config import Layout
from ucuie.adapter.layer import HierarchicalMoeLinear
from ucuie.adapter.model import HierarchicalMoeModel
from ucuie.adapter.routing import enabled_gates
from ucuie.engine.products import Product, product

PROJECTIONS = ("gate_proj", "up_proj", "down_proj")
Alive = tuple[bool, ...]
"""Which capabilities have a gate other than 0, C of them; empty where there are no gates."""


class FusedLinears:
    """G adapted linears of one input, each (N, D) to (N, K_g).

    Args:
        linears: with adapters of one layout.
        adapter_name: the one to fuse.
        copies: see `FusedMlps`.
        int8: round the frozen weights, with the shared expert on them, to 8 bits; needs copies.
    """

    @torch.no_grad()
    def __init__(
        self,
        linears: Sequence[HierarchicalMoeLinear],
        adapter_name: str,
        *,
        copies: bool = True,
        int8: bool = False,
    ) -> None:
        self._linears = linears
        self._adapter_name = adapter_name
        self.layout: Layout = linears[0].layout[adapter_name]
        self._merges = copies
        self._frozen: Callable[[Tensor], Sequence[Tensor]]
        bases = [_base(linear) for linear in linears]
        if copies:
            bias = None if bases[0].bias is None else torch.cat([base.bias for base in bases])
            merged = product(torch.cat([self._merged(linear) for linear in linears]), bias, int8=int8)
            widths = [len(base.weight) for base in bases]
            self._frozen = lambda hidden: torch.split(merged(hidden), widths, dim=1)
        else:
            own = [Product(base.weight, base.bias, copies=False) for base in bases]
            self._frozen = lambda hidden: [one(hidden) for one in own]
        self._dtype: torch.dtype = bases[0].weight.dtype
        self._beside = lru_cache(maxsize=None)(self._select)

    def __call__(self, hidden: Tensor, gates: Tensor | None, alive: Alive) -> Sequence[Tensor]:
        """Map (N, D) to G outputs (N, K_g).

        Args:
            hidden: states (N, D) that enter the MLP.
            gates: (N or 1, G, C), None with one level.
            alive: the experts of other capabilities are left out; their gates are 0.
        """
        outputs = self._frozen(hidden)
        beside = self._beside(alive if gates is not None else ())
        if beside is None:
            return outputs
        down, ups, places, num_ranks = beside
        projected = down(hidden)
        num_tokens, num_linears = hidden.shape[0], len(ups)
        ranks = projected[:, : num_ranks * num_linears].view(num_tokens, num_linears, -1, self.layout.rank)
        logits = projected[:, num_ranks * num_linears :]
        if logits.shape[1]:
            scales = logits.reshape(num_tokens, num_linears, -1, self.layout.choices[1])
            scales = scales.softmax(-1, torch.float32)
            if gates is not None:
                scales *= (gates if places is None else gates[..., places])[..., None]
            # In place, which rounds the product alone.
            ranks[:, :, -scales[0, 0].numel() :].mul_(scales.flatten(2).unsqueeze(-1))
        for index, (output, up) in enumerate(zip(outputs, ups, strict=True)):
            up.add_to(output, ranks[:, index].flatten(1))
        return outputs

    def _merged(self, linear: HierarchicalMoeLinear) -> Tensor:
        """W0, with the shared expert on it."""
        weight: Tensor = _base(linear).weight
        if not self.layout.has_shared_expert:
            return weight
        down, up = (parameter.float() for parameter in self._parameters(linear))
        rank = self.layout.rank
        return (weight.float() + self.layout.scaling * up[:, :rank] @ down[:rank]).to(weight.dtype)

    def _parameters(self, linear: HierarchicalMoeLinear) -> tuple[Tensor, Tensor]:
        return (
            linear.hierarchical_moe_down[self._adapter_name],
            linear.hierarchical_moe_up[self._adapter_name],
        )

    @torch.no_grad()
    def _select(self, alive: Alive) -> tuple[Product, list[Product], Tensor | None, int] | None:
        """The experts beside the frozen weights: the shared one unless it is merged, then those alive.

        Returns:
            The rows of all linears' down-projections, then of their routers; each linear's up-projection
            (K, R'), scaled; the index of the capabilities, None for all; R', the ranks of each linear. None
            where no expert is left.
        """
        layout, dtype = self.layout, self._dtype
        num_routers, choices = layout.choices
        device = self._linears[0].hierarchical_moe_down[self._adapter_name].device
        routers = [index for index in range(num_routers) if not alive or alive[index]]
        places = torch.tensor(routers, dtype=torch.int64, device=device)
        routed = (places[:, None] * choices + torch.arange(choices, device=device)).flatten()
        experts = routed + int(layout.has_shared_expert)
        if layout.has_shared_expert and not self._merges:
            experts = torch.cat([experts.new_zeros(1), experts])
        of_ranks = experts[:, None] * layout.rank + torch.arange(layout.rank, device=device)
        of_ranks = of_ranks.flatten()
        if not len(of_ranks):
            return None
        downs, logits, biases, ups = [], [], [], []
        for linear in self._linears:
            down, up = self._parameters(linear)
            downs.append(down[of_ranks])
            if layout.num_routed_experts:
                logits.append(down[layout.num_ranks + routed])
                biases.append(linear.hierarchical_moe_bias[self._adapter_name][routed])
            ups.append(Product((up[:, of_ranks] * layout.scaling).to(dtype)))
        num_ranks = len(of_ranks)
        bias = torch.cat([downs[0].new_zeros(num_ranks * len(downs)), *biases])
        rows = torch.cat([*downs, *logits])
        down_projection = Product(rows.to(dtype), bias.to(dtype))
        return down_projection, ups, None if all(alive) else places, num_ranks


class _FusedMlp:
    """One MLP; `gates` and `alive` are set for the forwards that follow."""

    gates: Tensor | None = None
    alive: Alive = ()

    def __init__(self, mlp: Any, adapter_name: str, *, copies: bool, int8: bool) -> None:
        self.mlp = mlp
        self.names = tuple(getattr(mlp, name).name for name in PROJECTIONS)
        self._activation = mlp.act_fn
        self._inner = FusedLinears([mlp.gate_proj, mlp.up_proj], adapter_name, copies=copies, int8=int8)
        self._outer = FusedLinears([mlp.down_proj], adapter_name, copies=copies, int8=int8)

    def forward(self, hidden: Tensor) -> Tensor:
        """Instead of the MLP's own."""
        inner_gates, outer_gates = (
            (None, None) if self.gates is None else (self.gates[:, :2], self.gates[:, 2:])
        )
        gate, up = self._inner(hidden.reshape(-1, hidden.shape[-1]), inner_gates, self.alive)
        [output] = self._outer(self._activation(gate) * up, outer_gates, self.alive)
        return output.view(*hidden.shape[:-1], -1)


class FusedMlps:
    """Every MLP of a backbone all of whose projections are adapted; others stay as they are.

    Args:
        tuner: of the adapted backbone, with one active adapter.
        copies: of the frozen weights are made; False leaves them where they are, for large models and those
            that share a backbone.
        int8: see `FusedLinears`.
    """

    def __init__(self, tuner: HierarchicalMoeModel, *, copies: bool = True, int8: bool = False) -> None:
        self._tuner = tuner
        adapter_name = tuner.active_adapters[0]
        self._mlps = [
            _FusedMlp(module, adapter_name, copies=copies, int8=int8)
            for module in tuner.model.modules()
            if _is_fusible(module, adapter_name)
        ]
        places = {name: place for place, name in enumerate(tuner.adapted_linears)}
        # On the device, where indexing by a list would send it each time.
        self._places = torch.tensor(
            [places[name] for mlp in self._mlps for name in mlp.names],
            dtype=torch.int64,
            device=next(tuner.parameters()).device,
        )
        self._covers_all = len(places) == len(self._places)
        # What the MLPs go by: most forwards are of one instruction, whose gates are the same tensor.
        self._routing: tuple[Tensor | None, Alive, Alive | None] = (None, (), None)
        self._gates = torch.empty(0)

    def __len__(self) -> int:
        return len(self._mlps)

    def forward_of(self, mlp: Any) -> Callable[[Tensor], Tensor]:
        """The fused forward of an MLP, or the module itself where it is not fused."""
        return next((fused.forward for fused in self._mlps if fused.mlp is mlp), mlp)

    def routed(self, gates: Tensor, alive: Alive) -> AbstractContextManager[None]:
        """Fused forwards go by these gates from now on, what is adapted beside the MLPs while this is open.

        Args:
            gates: (linears, N or 1, C), from `compute_gates`; N tokens, one in each row of the batch.
            alive: which capabilities have gates other than 0 in any of them.
        """
        routing = (gates, alive, self._tuner.state.enabled)
        if routing[0] is not self._routing[0] or routing[1:] != self._routing[1:]:
            self._gates = self._route(*routing)
            self._routing = routing
        return nullcontext() if self._covers_all else self._tuner.fixed_gates(self._gates)

    def _route(self, gates: Tensor, alive: Alive, enabled: Alive | None) -> Tensor:
        """Give every MLP its own gates, those of enabled capabilities; all of these."""
        if enabled is not None and gates.shape[-1]:
            gates = enabled_gates(gates, enabled)
            alive = tuple(both for both in map(all, zip(alive, enabled, strict=True)))
        by_mlp: Iterable[Tensor | None] = repeat(None)
        if gates.shape[-1]:
            by_mlp = torch.split(gates[self._places].transpose(0, 1), len(PROJECTIONS), dim=1)
        for mlp, of_mlp in zip(self._mlps, by_mlp, strict=False):
            mlp.gates, mlp.alive = of_mlp, alive
        return gates

    @contextmanager
    def running(self, gates: Tensor, alive: Alive) -> Iterator[None]:
        """The MLPs of the backbone take their fused form, with these gates, while this is open."""
        with ExitStack() as stack:
            stack.enter_context(self.routed(gates, alive))
            for mlp in self._mlps:
                mlp.mlp.forward = mlp.forward
                stack.callback(delattr, mlp.mlp, "forward")
            yield


def _is_fusible(module: nn.Module, adapter_name: str) -> bool:
    projections = [getattr(module, name, None) for name in PROJECTIONS]
    linears = [one for one in projections if isinstance(one, HierarchicalMoeLinear)]
    return (
        hasattr(module, "act_fn")
        and len(linears) == len(PROJECTIONS)
        and all(adapter_name in one.layout for one in linears)
        and len({one.layout[adapter_name] for one in linears}) == 1
        and all(type(_base(one)) is nn.Linear for one in linears)
    )


def _base(linear: HierarchicalMoeLinear) -> Any:
    base: Any = linear.base_layer
    return base
