"""Hands the routing of a forward to the adapted linears and keeps what they record.

One `RoutingState` is shared by all adapted linears of a backbone and hooked to the backbone itself, so
plain `transformers` models, PEFT models, `generate` and checkpointed layers take the same path. Knows
nothing about experts or PEFT.
"""

import functools
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ucuie.adapter.routing import (
    Decision,
    Routing,
    RoutingInputs,
    instruction_pooling,
    repeat_rows,
    segment_pooling,
    token_weighting,
)

INPUT_NAMES = tuple(entry.name for entry in fields(RoutingInputs))


@dataclass
class _Generation:
    """One call of `generate`: its first forward computes the gates, all later ones reuse them."""

    inputs: RoutingInputs
    gates: Mapping[str, Tensor] = field(default_factory=dict)
    has_prefilled: bool = False


class RoutingState:
    """The routing of the forward under way, and the records of the last one.

    One forward at a time: a second thread that enters is refused. Copies and pickles keep only which
    capabilities are enabled; what belongs to a forward stays behind, since tensors with a history can
    be neither copied nor pickled.
    """

    def __init__(self) -> None:
        self.enabled: tuple[bool, ...] | None = None
        self._handles: list[RemovableHandle] = []
        self._forget()

    def _forget(self) -> None:
        self.keeps_tokens = False
        self.records: dict[str, Decision] = {}
        self.labels: Tensor | None = None
        self._routing: Routing | None = None
        self._thread: int | None = None
        self._fixed: Mapping[str, Tensor] | None = None
        self._generation: _Generation | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"enabled": self.enabled, "_handles": self._handles}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def attach(self, backbone: nn.Module) -> None:
        """Take part in every forward of `backbone` from now on."""
        self._handles = [
            backbone.register_forward_pre_hook(self._open, with_kwargs=True),
            backbone.register_forward_hook(self._close, always_call=True),
        ]

    def detach(self, backbone: nn.Module) -> None:
        """Leave `backbone` as it was before `attach`."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        for layer in _checkpointed_layers(backbone):
            if isinstance(layer._gradient_checkpointing_func, RoutedCheckpoint):
                layer._gradient_checkpointing_func = layer._gradient_checkpointing_func.checkpoint

    @property
    def routing(self) -> Routing:
        """The routing of the forward under way; outside of one, only what is fixed."""
        if self._routing is not None:
            return self._routing
        return Routing(fixed=self._fixed, enabled=self.enabled)

    @property
    def has_fixed_gates(self) -> bool:
        """True while a `fixing` context is open."""
        return self._fixed is not None

    @contextmanager
    def fixing(self, gates: Mapping[str, Tensor] | None) -> Iterator[None]:
        """Use `gates` (B or 1, C), by name of the linear, in every forward inside; None lifts others."""
        previous, self._fixed = self._fixed, gates
        try:
            yield
        finally:
            self._fixed = previous

    @contextmanager
    def keeping_tokens(self) -> Iterator[None]:
        """Records made inside hold the weights of every token, not only their mean."""
        previous, self.keeps_tokens = self.keeps_tokens, True
        try:
            yield
        finally:
            self.keeps_tokens = previous

    @contextmanager
    def generating(self, inputs: RoutingInputs) -> Iterator[None]:
        """Route the forwards of one `generate`: the gates of its first one hold for all."""
        self._generation = _Generation(inputs, gates=self._fixed or {})
        try:
            yield
        finally:
            self._generation = None

    @contextmanager
    def replaying(self, routing: Routing) -> Iterator[None]:
        """Recompute part of an earlier forward under its own routing; the records stay as they are."""
        previous = self._routing, self.records
        self._routing, self.records = routing, {}
        try:
            yield
        finally:
            self._routing, self.records = previous

    def router_gates(self) -> dict[str, Tensor]:
        """The gates of the capability routers of the last forward, by linear: (B, C), none switched off."""
        return {
            name: record.router_logits.sigmoid()
            for name, record in self.records.items()
            if record.router_logits is not None
        }

    def _open(
        self, backbone: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Forward pre-hook of the backbone: take the adapter's arguments out, publish the routing."""
        if self._routing is not None and self._thread != threading.get_ident():
            raise RuntimeError(
                "two threads are in a forward of the same model and would see each other's gates; "
                "run one forward at a time, or give each thread its own copy of the model"
            )
        inputs = RoutingInputs(**{name: kwargs.pop(name, None) for name in INPUT_NAMES})
        tokens = _token_argument(args, kwargs)
        attention_mask = kwargs.get("attention_mask", args[1] if len(args) > 1 else None)
        fixed = self._fixed
        if self._generation is not None:
            inputs, fixed = self._continue(self._generation, num_rows=len(tokens))
        segments, num_segments = _segments(inputs)
        num_rows = len(tokens) if segments is None else num_segments
        _check(inputs, fixed, tokens, kwargs.get("past_key_values"), num_rows=num_rows)

        # With a KV cache the mask covers cached tokens too; a 4-D mask says nothing about padding.
        token_mask = None
        if isinstance(attention_mask, Tensor) and attention_mask.dim() == 2:
            token_mask = attention_mask[:, -tokens.shape[1] :]
        mask = inputs.instruction_mask
        is_decode_step = tokens.shape[1] == 1 and mask is None and not torch.is_grad_enabled()
        if mask is None:
            pooling = None
        elif segments is None:
            pooling = instruction_pooling(mask, token_mask)
        else:
            pooling = segment_pooling(mask, segments, num_segments)
        self._thread = threading.get_ident()
        self._routing = Routing(
            pooling=pooling,
            token_weights=None if is_decode_step else token_weighting(token_mask, tokens),
            labels=inputs.capability_labels,
            override=inputs.capability_gates,
            fixed=fixed,
            enabled=self.enabled,
            segments=segments,
            num_segments=num_segments,
        )
        if not is_decode_step:
            self.records = {}
            self.labels = inputs.capability_labels
        if backbone.training and torch.is_grad_enabled():
            _route_checkpoints(backbone, self)
        return args, kwargs

    def _close(self, backbone: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Forward hook of the backbone, run on errors too: forget the routing."""
        self._routing = None
        generation = self._generation
        if generation is not None and not generation.has_prefilled:
            generation.has_prefilled = True
            generation.gates = generation.gates or self.router_gates()

    def _continue(
        self, generation: _Generation, *, num_rows: int
    ) -> tuple[RoutingInputs, Mapping[str, Tensor] | None]:
        """Inputs and fixed gates of the next forward of a `generate`, a row for every beam."""
        inputs = generation.inputs.for_rows(num_rows)
        if generation.has_prefilled or generation.gates:
            inputs = replace(inputs, instruction_mask=None)
        if not generation.gates or inputs.capability_gates is not None:
            return inputs, self._fixed
        generation.gates = {
            name: gates if len(gates) == 1 else repeat_rows(gates, num_rows)
            for name, gates in generation.gates.items()
        }
        return inputs, generation.gates


def _token_argument(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The token ids (B, T) or embeddings (B, T, D) of a forward."""
    for tokens in (kwargs.get("input_ids"), kwargs.get("inputs_embeds"), *args[:1]):
        if isinstance(tokens, Tensor):
            return tokens
    raise ValueError("a forward of an adapted model needs input_ids (B, T) or inputs_embeds (B, T, D)")


def _segments(inputs: RoutingInputs) -> tuple[Tensor | None, int]:
    """The sequence of a packed batch that each token belongs to (T,), and how many there are."""
    if inputs.segment_ids is None:
        return None, 0
    segments = inputs.segment_ids.reshape(-1)
    for rows in (inputs.capability_labels, inputs.capability_gates):
        if rows is not None:
            # Known without waiting for the device.
            return segments, len(rows)
    return segments, int(segments.max()) + 1


def _check(
    inputs: RoutingInputs,
    fixed: Mapping[str, Tensor] | None,
    tokens: Tensor,
    cache: Any,
    *,
    num_rows: int,
) -> None:
    """Refuse routing that does not belong to this forward.

    Raises:
        ValueError: shapes disagree, two kinds of gates are given, or the instruction would be pooled
            in parts.
    """
    shape = tuple(tokens.shape[:2])
    mask = inputs.instruction_mask
    if inputs.segment_ids is not None and (shape[0] != 1 or tuple(inputs.segment_ids.shape) != shape):
        raise ValueError(
            f"segment_ids is {tuple(inputs.segment_ids.shape)} and the batch {shape}; a packed batch is one "
            "row, and both are (1, tokens)"
        )
    if mask is not None and tuple(mask.shape) != shape:
        raise ValueError(f"instruction_mask is {tuple(mask.shape)}, the batch is {shape}")
    if mask is not None and cache is not None and cache.get_seq_length() > 0:
        raise ValueError(
            "instruction_mask came with a filled KV cache; gates are a mean over the whole instruction, so "
            "prefill it in one forward: compute_gates() once, then run inside fixed_gates()"
        )
    for name in ("capability_labels", "capability_gates"):
        rows = getattr(inputs, name)
        if rows is not None and (rows.dim() != 2 or len(rows) != num_rows):
            raise ValueError(f"{name} is {tuple(rows.shape)}, wanted ({num_rows}, capabilities)")
    if fixed is None:
        return
    if inputs.capability_gates is not None:
        raise ValueError("capability_gates given inside fixed_gates(); use one of the two")
    fixed_rows = {len(gates) for gates in fixed.values()}
    if not fixed_rows <= {1, num_rows}:
        raise ValueError(f"fixed gates have {max(fixed_rows)} rows, the batch has {num_rows}")


class RoutedCheckpoint:
    """A checkpoint function that recomputes a layer under the routing of its own forward.

    By the time the backward recomputes a layer, its forward is over and another one may have run, so
    what the state then holds is missing or another batch's.
    """

    def __init__(self, checkpoint: Callable[..., Any], state: RoutingState) -> None:
        self.checkpoint = checkpoint
        self.state = state

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Checkpoint `function(*args)`."""
        routing = self.state.routing
        # The graph keeps `run`, and the state keeps records that keep the graph: a strong reference
        # would close a cycle through C++ that no garbage collector sees.
        reference = weakref.ref(self.state)

        def run(*inputs: Any) -> Any:
            state = reference()
            if state is None or state.routing is routing:
                return function(*inputs)
            with state.replaying(routing):
                return function(*inputs)

        return self.checkpoint(run, *args, **kwargs)


def _route_checkpoints(backbone: nn.Module, state: RoutingState) -> None:
    """Make every checkpointed layer of `backbone` remember its routing.

    Raises:
        ValueError: the checkpoints are reentrant. These run the forward without a graph, so the
            auxiliary losses would have no gradient.
    """
    for layer in _checkpointed_layers(backbone):
        checkpoint = layer._gradient_checkpointing_func
        if isinstance(checkpoint, RoutedCheckpoint) and checkpoint.state is state:
            continue
        is_partial = isinstance(checkpoint, functools.partial)
        if is_partial and checkpoint.keywords.get("use_reentrant") is not False:
            raise ValueError(
                "reentrant gradient checkpointing loses the gradient of the auxiliary losses; enable it "
                'with {"use_reentrant": False}'
            )
        layer._gradient_checkpointing_func = RoutedCheckpoint(checkpoint, state)


def _checkpointed_layers(backbone: nn.Module) -> list[Any]:
    """Modules whose forward `transformers` passes to their `_gradient_checkpointing_func`."""
    return [module for module in backbone.modules() if getattr(module, "gradient_checkpointing", False)]
