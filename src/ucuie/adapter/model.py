"""The tuner: puts experts on a backbone's linears and answers questions about their routing.

In: a backbone and a `HierarchicalMoeConfig`. Out: the adapted backbone, its auxiliary losses, routing
statistics and capability gates. Knows tensors only, nothing about what instructions or capabilities mean.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from peft.tuners.tuners_utils import BaseTuner
from torch import Tensor, nn
from transformers import Cache

from ucuie.adapter.config import PEFT_TYPE_NAME, HierarchicalMoeConfig
from ucuie.adapter.layer import HierarchicalMoeLinear
from ucuie.adapter.routing import (
    AuxiliaryLosses,
    Decision,
    MissingGatesError,
    RoutingInputs,
    RoutingStatistics,
    TokenRouting,
    auxiliary_losses,
)
from ucuie.adapter.state import INPUT_NAMES, RoutingState
from ucuie.errors import did_you_mean

PINNED_LOGIT = 120.0


class HierarchicalMoeModel(BaseTuner):  # type: ignore[misc]  # PEFT is not type-checked
    """A backbone whose linears carry a hierarchical mixture of experts (UC-UIE, Section 3.4).

    Forwards take three more arguments, none of which reaches the backbone: `instruction_mask` (B, T),
    `capability_labels` (B, C) and `capability_gates` (B, C); see `RoutingInputs`. PEFT creates it:
    `model = get_peft_model(backbone, HierarchicalMoeConfig()); model.base_model`.
    """

    prefix = PEFT_TYPE_NAME.lower() + "_"
    tuner_layer_cls = HierarchicalMoeLinear
    target_module_mapping: ClassVar[dict[str, list[str]]] = {}

    @property
    def state(self) -> RoutingState:
        """The state that all adapted linears of the backbone share, whichever tuner put them there."""
        return next(self._layers()).state

    def _layers(self) -> Iterator[HierarchicalMoeLinear]:
        return (module for module in self.model.modules() if isinstance(module, HierarchicalMoeLinear))

    def _create_and_replace(
        self,
        peft_config: HierarchicalMoeConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        if isinstance(target, HierarchicalMoeLinear):
            target.update_layer(adapter_name, peft_config)
            return
        if not (hasattr(target, "in_features") and hasattr(target, "out_features")):
            raise TypeError(f"{current_key} is a {type(target).__name__}; only linears can be adapted")
        if next(self._layers(), None) is not None:
            state = self.state
        else:
            # Not earlier: a tuner that finds nothing to adapt has to leave the backbone without hooks.
            state = RoutingState()
            state.attach(self.model)
        layer = HierarchicalMoeLinear(target, name=current_key, state=state)
        layer.update_layer(adapter_name, peft_config)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)

    def _unload_and_optionally_merge(self, *args: Any, **kwargs: Any) -> nn.Module:
        state = self.state
        backbone: nn.Module = super()._unload_and_optionally_merge(*args, **kwargs)
        state.detach(backbone)
        return backbone

    @property
    def _config(self) -> HierarchicalMoeConfig:
        config: HierarchicalMoeConfig = self.peft_config[self.active_adapters[0]]
        return config

    @property
    def capability_names(self) -> tuple[str, ...]:
        """Names in the order of the gates; empty for an adapter without capability experts."""
        return self._config.capability_names if self._config.use_capability_experts else ()

    @property
    def adapted_linears(self) -> list[str]:
        """Names of the linears that the active adapter acts on: the order of `compute_gates`."""
        adapter_name = self.active_adapters[0]
        return [layer.name for layer in self._layers() if adapter_name in layer.layout]

    def auxiliary_losses(self, *, widen: Callable[[Tensor], Tensor] | None = None) -> AuxiliaryLosses:
        """The auxiliary losses of the last forward of more than one token, with their gradients.

        `widen` is that of `routing.auxiliary_losses`.

        Raises:
            RuntimeError: there was no forward yet, or it had labels but no instruction for the router.
        """
        records = self._records()
        if (
            self.state.labels is not None
            and self._config.layout().routes_capabilities
            and any(record.router_logits is None for record in records.values())
        ):
            raise RuntimeError(
                "capability_labels came without instruction_mask, so the router they are the target of did "
                "not run; pass both"
            )
        device = next(self.model.parameters()).device
        return auxiliary_losses(list(records.values()), self.state.labels, device, widen=widen)

    def routing_statistics(self) -> dict[str, RoutingStatistics]:
        """Gates and sub-expert weights of the last forward of more than one token, by linear.

        Raises:
            RuntimeError: there was no forward yet.
        """
        layout = self._config.layout()
        statistics = {}
        for name, record in self._records().items():
            gates = None if record.gates is None else record.gates.detach()
            usage = record.usage.detach().view(layout.num_capabilities, layout.num_sub_experts)
            statistics[name] = RoutingStatistics(capability_gates=gates, sub_expert_weights=usage)
        return statistics

    def _records(self) -> dict[str, Decision]:
        if not self.state.records and self._config.use_capability_experts:
            raise RuntimeError("no forward of the adapted model to report on; run one first")
        return self.state.records

    def set_capabilities(self, capabilities: Sequence[str]) -> None:
        """Switch the named capabilities on and all others off: gates are multiplied by 1 or 0.

        The shared expert stays on. Holds for every adapter until the next call.

        Raises:
            ValueError: a name is unknown, or the adapter has no capability gates.
        """
        if self._config.layout().num_gates == 0:
            raise ValueError("this adapter has no capability gates, so no capability can be switched")
        enabled = self._are_named(capabilities)
        self.state.enabled = None if all(enabled) else enabled

    def _are_named(self, capabilities: Sequence[str]) -> tuple[bool, ...]:
        """True for each capability, in the order of the gates, that is among those named."""
        names = self._config.capability_names
        for name in capabilities:
            if name not in names:
                raise ValueError(f"unknown capability {name!r}{did_you_mean(name, names)}")
        return tuple(name in capabilities for name in names)

    @contextmanager
    def capabilities(self, *names: str) -> Iterator[None]:
        """Switch only the named capabilities on while the context is open; see `set_capabilities`."""
        previous = self.state.enabled
        self.set_capabilities(names)
        try:
            yield
        finally:
            self.state.enabled = previous

    @torch.no_grad()
    def pin_gates(self, capabilities: Sequence[str]) -> None:
        """Make the router a constant: gates are 1 for the named capabilities and 0 for all others.

        The router's own weights are overwritten.

        Raises:
            ValueError: a name is unknown, or the adapter has no soft router.
        """
        layout = self._config.layout()
        if not layout.routes_capabilities:
            raise ValueError("this adapter has no soft router, so there are no gates to pin")
        # In float32 the sigmoid of these is exactly 1 and 0.
        logits = [PINNED_LOGIT if is_on else -PINNED_LOGIT for is_on in self._are_named(capabilities)]
        adapter_name = self.active_adapters[0]
        for layer in self._layers():
            if adapter_name in layer.layout:
                layer.hierarchical_moe_down[adapter_name][-layout.num_gates :] = 0
                bias = layer.hierarchical_moe_bias[adapter_name]
                bias[-layout.num_gates :] = bias.new_tensor(logits)

    @torch.no_grad()
    def compute_gates(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        instruction_mask: Tensor | None = None,
        capability_labels: Tensor | None = None,
        *,
        past_key_values: Cache | None = None,
    ) -> Tensor:
        """The capability gates of each row, for `fixed_gates`: (linears, B, C) float32.

        Gates are constants of the instruction: attention is causal and the instruction comes first, so
        `input_ids` may stop where it ends. Rows can be indexed, repeated and concatenated along dimension
        1. Capabilities that are switched off are not zeroed here but when the gates are used.

        Args:
            input_ids: (B, T).
            attention_mask: (B, T).
            instruction_mask: (B, T) bool, True on the instruction's tokens.
            capability_labels: (B, C), the gates of a hard router.
            past_key_values: empty; takes the keys and values of a soft router's forward. A hard router needs
                no forward, and leaves it empty.

        Raises:
            MissingGatesError: a soft router came without instruction_mask, or a hard one without labels.
        """
        names = self.adapted_linears
        layout = self._config.layout()
        if layout.num_gates == 0:
            return torch.empty(len(names), len(input_ids), 0, device=input_ids.device)
        if not layout.routes_capabilities:
            if capability_labels is None:
                raise MissingGatesError("a hard router's gates are the rows' labels; pass capability_labels")
            return capability_labels.float().expand(len(names), -1, -1)
        if instruction_mask is None:
            raise MissingGatesError("gates are a mean over the instruction; pass instruction_mask")
        with self.state.fixing(None):
            self.model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                instruction_mask=instruction_mask,
                use_cache=past_key_values is not None,
                past_key_values=past_key_values,
                logits_to_keep=1,
            )
        router_gates = self.state.router_gates()
        return torch.stack([router_gates[name].to(input_ids.device) for name in names])

    @torch.no_grad()
    def route_tokens(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        instruction_mask: Tensor | None = None,
        capability_labels: Tensor | None = None,
    ) -> dict[str, TokenRouting]:
        """The routing of every token in one forward of whole sequences, by linear.

        The arguments are those of `compute_gates`.

        Raises:
            ValueError: the adapter has no capability experts, so nothing is routed.
            MissingGatesError: a soft router came without instruction_mask, or a hard one without labels.
        """
        layout = self._config.layout()
        if layout.num_routed_experts == 0:
            raise ValueError("this adapter has no capability experts, so there is no routing to report")
        with self.state.fixing(None), self.state.keeping_tokens():
            self.model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                instruction_mask=instruction_mask,
                capability_labels=capability_labels,
                use_cache=False,
                logits_to_keep=1,
            )
        shape = (*input_ids.shape, layout.num_capabilities, layout.num_sub_experts)
        routing = {
            name: TokenRouting(record.gates, record.weights.view(shape))
            for name, record in self.state.records.items()
            if record.weights is not None
        }
        self.state.records = {}
        return routing

    @contextmanager
    def fixed_gates(self, gates: Tensor) -> Iterator[None]:
        """Use `gates` in every forward inside: more prefill, decode steps, `generate`.

        Args:
            gates: (linears or 1, B or 1, C), from `compute_gates` or a row of a task table.

        Raises:
            ValueError: the shape does not fit the active adapter; each forward checks the rows.
        """
        names = self.adapted_linears
        num_gates = self._config.layout().num_gates
        if gates.dim() != 3 or gates.shape[0] not in (1, len(names)) or gates.shape[2] != num_gates:
            raise ValueError(
                f"gates are {tuple(gates.shape)}, wanted (linears, rows, capabilities): "
                f"({len(names)} or 1, rows, {num_gates})"
            )
        by_name = dict(zip(names, gates.expand(len(names), -1, -1).unbind(), strict=True))
        with self.state.fixing(by_name):
            yield

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """`generate` of the backbone; the prefill computes the gates, decode steps reuse them.

        Takes `instruction_mask`, `capability_labels` and `capability_gates` like a forward, a row per
        prompt; beams and returned sequences share their prompt's gates.

        Raises:
            ValueError: `prefill_chunk_size` would split the instruction.
        """
        inputs = RoutingInputs(**{name: kwargs.pop(name, None) for name in INPUT_NAMES})
        chunk_size = self._prefill_chunk_size(kwargs)
        if chunk_size is not None and not self.state.has_fixed_gates:
            raise ValueError(
                f"prefill_chunk_size={chunk_size} would pool the instruction in parts; leave it out, or "
                "compute_gates() once and generate inside fixed_gates()"
            )
        with self.state.generating(inputs):
            return self.model.generate(*args, **kwargs)

    def _prefill_chunk_size(self, kwargs: dict[str, Any]) -> int | None:
        sources = (kwargs.get("generation_config"), getattr(self.model, "generation_config", None))
        sizes = [kwargs.get("prefill_chunk_size")]
        sizes += [getattr(source, "prefill_chunk_size", None) for source in sources]
        return next((size for size in sizes if size is not None), None)
