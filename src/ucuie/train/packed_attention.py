"""Attention over packed rows: a text sees the instruction it stands behind and itself, nothing else.

In: queries, keys and values of all tokens of a batch, one after the other, and a `PackedLayout` that says
where the instructions and texts are. Out: what each token reads. Keys and values of an instruction are there
once, however many texts stand behind it. Knows no model; `packing.packed_attention` puts it into one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class PackedLayout:
    """Where the G instructions and N texts of a packed batch of T tokens are.

    Tokens are gathered into two rectangles, the instructions (G, A) and the texts (N, S); what a line lacks
    at its end is padding.

    Args:
        instruction_places: place of each token of an instruction in the batch, (G, A).
        text_places: the same for the texts, (N, S).
        owners: which instruction a text stands behind, (N,).
        returns: where each token of the batch is in the two rectangles, one written after the other, (T,).
        instruction_lengths: tokens of each instruction, (G,).
        text_lengths: tokens of each text, (N,).
    """

    instruction_places: Tensor
    text_places: Tensor
    owners: Tensor
    returns: Tensor
    instruction_lengths: Tensor
    text_lengths: Tensor

    @classmethod
    def of(cls, rows: Sequence[tuple[int, Sequence[int]]]) -> Self:
        """The layout of rows, given by the length of an instruction and those of the texts behind it."""
        lengths = np.array([length for instruction, texts in rows for length in (instruction, *texts)])
        starts = lengths.cumsum() - lengths
        num_texts = np.array([len(texts) for _, texts in rows])
        is_text = np.ones(len(lengths), np.bool_)
        is_text[(num_texts + 1).cumsum() - num_texts - 1] = False
        returns = np.empty(lengths.sum(), np.int64)
        rectangles, num_places = [], 0
        for chosen in (~is_text, is_text):
            columns = np.arange(lengths[chosen].max())
            is_token = columns < lengths[chosen, None]
            places = np.where(is_token, starts[chosen, None] + columns, 0)
            returns[places[is_token]] = num_places + np.flatnonzero(is_token)
            rectangles.append(places)
            num_places += places.size
        owners = np.arange(len(rows)).repeat(num_texts)
        parts = (*rectangles, owners, returns, lengths[~is_text], lengths[is_text])
        return cls(*map(torch.tensor, parts))

    def to(self, device: torch.device, non_blocking: bool = False) -> Self:
        """The layout on a device."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: one.to(device, non_blocking=non_blocking) for name, one in tensors.items()}
        return replace(self, **moved)

    def hidden_from_instructions(self, window: int | None = None) -> Tensor:
        """What a token of an instruction does not see of it, (A, A).

        Args:
            window: tokens that one sees, itself included; None is no limit.
        """
        places = torch.arange(self.instruction_places.shape[1], device=self.owners.device)
        return _is_hidden(places.unsqueeze(1) - places, window)

    def hidden_from_texts(self, window: int | None = None) -> Tensor:
        """What a token of a text does not see of its instruction, then of itself, (N, S, A + S)."""
        shared = torch.arange(self.instruction_places.shape[1], device=self.owners.device)
        own = torch.arange(self.text_places.shape[1], device=self.owners.device)
        lengths = self.instruction_lengths[self.owners].view(-1, 1, 1)
        before = _is_hidden(lengths + own.unsqueeze(1) - shared, window) | (shared >= lengths)
        itself = _is_hidden(own.unsqueeze(1) - own, window).expand(len(lengths), -1, -1)
        return torch.cat([before, itself], dim=2)


def _is_hidden(distances: Tensor, window: int | None) -> Tensor:
    is_ahead = distances < 0
    return is_ahead if window is None else is_ahead | (distances >= window)


def attend_packed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: PackedLayout,
    *,
    scaling: float,
    window: int | None = None,
) -> Tensor:
    """What the tokens of a packed batch read, (T, H, D).

    Args:
        query: (T, H, D).
        key: (T, K, D), where K divides H.
        value: (T, K, D).
        layout: of the T tokens.
        scaling: of the products of queries and keys.
        window: tokens that one sees, itself included; None is no limit.
    """
    # Autocast leaves queries and keys in float32, for they were turned by their positions; products are not.
    query, key = query.to(value.dtype), key.to(value.dtype)
    with torch.autocast(value.device.type, enabled=False):
        mixed: Tensor = _PackedAttention.apply(  # type: ignore[no-untyped-call]
            query, key, value, layout, scaling, window
        )
    return mixed


class _PackedAttention(torch.autograd.Function):
    """Gathers, products and the softmax between them, in both rectangles.

    As separate operations their gradients would scatter tokens into zeros; by way of `returns` they are
    gathered. For some dozen tokens plain products take a third of the time of the CPU's fused kernel.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        layout: PackedLayout,
        scaling: float,
        window: int | None,
    ) -> Tensor:
        blocks = _blocks(query, key, value, layout)
        masks = (layout.hidden_from_instructions(window), layout.hidden_from_texts(window))
        weights = [
            _weights(queries, keys, mask, scaling)
            for (queries, keys, _), mask in zip(blocks, masks, strict=True)
        ]
        ctx.save_for_backward(query, key, value, *weights)
        ctx.layout, ctx.scaling = layout, scaling
        mixed = [
            _without_groups(one @ values, len(places), query.shape[1])
            for one, (_, _, values), places in zip(weights, blocks, _places(layout), strict=True)
        ]
        return torch.cat(mixed).index_select(0, layout.returns)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *weights = ctx.saved_tensors
        layout, num_kv_heads = ctx.layout, key.shape[1]
        blocks = _blocks(query, key, value, layout)
        of_queries, of_keys, of_values = [], [], []
        lengths = layout.instruction_lengths, layout.text_lengths
        for one, (queries, keys, values), places, tokens in zip(
            weights, blocks, _places(layout), lengths, strict=True
        ):
            is_padding = torch.arange(places.shape[1], device=tokens.device) >= tokens.unsqueeze(1)
            gathered = _gathered(gradients[0], places).masked_fill_(is_padding[..., None, None], 0)
            gradient = _with_groups(gathered, num_kv_heads)
            of_values.append(_lines(one.mT @ gradient, len(places)))
            of_weights = gradient @ values.mT
            of_scores = torch._softmax_backward_data(of_weights, one, -1, one.dtype).mul_(ctx.scaling)
            of_keys.append(_lines(of_scores.mT @ queries, len(places)))
            of_queries.append(_without_groups(of_scores @ keys, len(places), query.shape[1]))
        gradient_of_query = torch.cat(of_queries).index_select(0, layout.returns)
        return gradient_of_query, _back(of_keys, layout), _back(of_values, layout), None, None, None


_Block = tuple[Tensor, Tensor, Tensor]
"""Queries (B * K, tokens * H / K, D), keys and values (B * K, visible tokens, D) of a rectangle."""


def _places(layout: PackedLayout) -> tuple[Tensor, Tensor]:
    return layout.instruction_places, layout.text_places


def _blocks(query: Tensor, key: Tensor, value: Tensor, layout: PackedLayout) -> tuple[_Block, _Block]:
    num_kv_heads = key.shape[1]
    instructions, texts = _places(layout)
    seen_by_texts = torch.cat([instructions[layout.owners], texts], dim=1)
    first, second = (
        (
            _with_groups(_gathered(query, places), num_kv_heads),
            _heads_first(_gathered(key, seen)),
            _heads_first(_gathered(value, seen)),
        )
        for places, seen in ((instructions, instructions), (texts, seen_by_texts))
    )
    return first, second


def _weights(queries: Tensor, keys: Tensor, is_hidden: Tensor, scaling: float) -> Tensor:
    """The softmax of the visible products, (B * K, S * H / K, L), for a mask (S, L) or (B, S, L)."""
    scores = queries @ keys.mT
    num_tokens, num_seen = is_hidden.shape[-2:]
    num_lines = len(is_hidden) if is_hidden.dim() == 3 else 1
    by_token = scores.view(num_lines, -1, num_tokens, scores.shape[1] // num_tokens, num_seen)
    mask = torch.zeros_like(is_hidden, dtype=scores.dtype).masked_fill_(is_hidden, -torch.inf)
    by_token.mul_(scaling).add_(mask.view(num_lines, 1, num_tokens, 1, num_seen))
    return scores.softmax(-1)


def _gathered(states: Tensor, places: Tensor) -> Tensor:
    """(B, S, heads, D) of (T, heads, D), by places (B, S)."""
    return states.index_select(0, places.flatten()).view(*places.shape, *states.shape[1:])


def _heads_first(states: Tensor) -> Tensor:
    """(B * K, S, D) of (B, S, K, D)."""
    return states.transpose(1, 2).flatten(0, 1)


def _lines(states: Tensor, num_lines: int) -> Tensor:
    """(B, S, K, D) of (B * K, S, D)."""
    return states.view(num_lines, -1, *states.shape[1:]).transpose(1, 2)


def _with_groups(states: Tensor, num_kv_heads: int) -> Tensor:
    """(B * K, S * H / K, D) of (B, S, H, D): the heads that share keys stand together."""
    lines, tokens, heads, width = states.shape
    grouped = states.view(lines, tokens, num_kv_heads, heads // num_kv_heads, width)
    return grouped.transpose(1, 2).reshape(lines * num_kv_heads, -1, width)


def _without_groups(states: Tensor, num_lines: int, num_heads: int) -> Tensor:
    """(B * S, H, D) of (B * K, S * H / K, D)."""
    num_kv_heads, width = len(states) // num_lines, states.shape[-1]
    grouped = states.view(num_lines, num_kv_heads, -1, num_heads // num_kv_heads, width)
    return grouped.transpose(1, 2).reshape(-1, num_heads, width)


def _back(gradients: Sequence[Tensor], layout: PackedLayout) -> Tensor:
    """(T, K, D): the gradient of each token from its own rectangle and, in an instruction, from its texts."""
    of_instructions, of_texts = gradients
    num_shared = of_instructions.shape[1]
    of_instructions = of_instructions.index_add(0, layout.owners, of_texts[:, :num_shared])
    both = torch.cat([of_instructions.flatten(0, 1), of_texts[:, num_shared:].flatten(0, 1)])
    return both.index_select(0, layout.returns)
