"""One forward for rows of different length: where its tokens belong, and the attention of each.

All tokens of a forward, of whichever row, lie in one packed axis, so that linear layers compute no padding:
the model sees a batch of N rows of one token each. `attend`, registered with `transformers` as an attention
implementation, knows which token belongs to which slot. A slot holds what follows the prefix; the prefix is
kept once for all rows that share it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface

from ucuie.engine.cache import Prefix, SlotCache

ATTENTION = "ucuie_ragged"
"""The name under which `transformers` knows our attention."""
LONGEST_PADDED = 16
"""Rows with at most so many new tokens are padded and attended together, longer ones one by one."""


@dataclass(frozen=True, eq=False)
class StepRow:
    """The part of a forward for the slot of the same number."""

    prefix: Prefix
    length: int
    """Tokens that the slot holds already."""
    num_tokens: int
    """That are read now, at least one."""


class Step:
    """The places of the N tokens of one forward; row i of `rows`, at least one, is slot i."""

    def __init__(self, cache: SlotCache, rows: Sequence[StepRow], device: torch.device) -> None:
        self.cache = cache
        self.rows = rows
        self._device = device
        cache.reserve(len(rows), max(row.length + row.num_tokens for row in rows))
        # numpy: on so few numbers torch takes several times as long.
        counts = np.array([row.num_tokens for row in rows])
        self._ends = counts.cumsum()
        slots = np.repeat(np.arange(len(rows)), counts)
        first_places = np.array([row.length for row in rows]) - self._ends + counts
        places = np.arange(len(slots)) + first_places[slots]
        positions = places + np.array([row.prefix.length for row in rows])[slots]
        self.positions = self._tensor(positions)
        """(N,) of each token, counted from the start of its prefix."""
        self._slots, self._places = self._tensor(slots), self._tensor(places)
        self._padded = [index for index, row in enumerate(rows) if row.num_tokens <= LONGEST_PADDED]
        self._single = [index for index, row in enumerate(rows) if row.num_tokens > LONGEST_PADDED]

    def gates(self) -> Tensor | None:
        """The gates (linears, N or 1, C) of the tokens."""
        distinct = list({id(row.prefix): row.prefix.gates for row in self.rows}.values())
        if any(gates is None for gates in distinct):
            return None
        if len(distinct) == 1:
            return distinct[0]
        of_rows = torch.cat([row.prefix.gates for row in self.rows if row.prefix.gates is not None], dim=1)
        return of_rows[:, self._slots]

    def alive(self) -> tuple[bool, ...]:
        """For each capability, if it has a gate other than 0 in any row."""
        return tuple(map(any, zip(*{row.prefix.alive for row in self.rows}, strict=True)))

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Write keys and values (N, H', D), and attend from the queries (N, H, D) to prefix and slot."""
        keys, values = self.cache.layer(layer, key)
        self._write(keys, values, key, value)
        if not self._single:
            return self._attend_padded(layer, query, keys, values, scaling)
        output = torch.empty_like(query)
        if self._padded:
            output[self._padding.tokens] = self._attend_padded(layer, query, keys, values, scaling)
        for index in self._single:
            self._attend_single(index, layer, query, keys, values, scaling, output)
        return output

    def _write(self, keys: Tensor, values: Tensor, key: Tensor, value: Tensor) -> None:
        if len(self.rows) == 1:
            start = self.rows[0].length
            keys[0, ..., start : start + len(key)] = key.permute(1, 2, 0)
            values[0, :, start : start + len(key)] = value.transpose(0, 1)
        else:
            keys[self._slots, :, :, self._places] = key
            values[self._slots, :, self._places] = value

    def _attend_padded(
        self, layer: int, query: Tensor, keys: Tensor, values: Tensor, scaling: float
    ) -> Tensor:
        """The tokens (M, H, D) of rows that read few: in one go, rows between them come along for nothing."""
        layout = self._padding
        num_rows, num_heads = len(self.rows), keys.shape[1]
        padded = query if layout.index is None else query[layout.index]
        # (R, H', T * G, D): G query heads share a key head.
        queries = padded.view(num_rows, -1, num_heads, query.shape[1] // num_heads, query.shape[-1])
        width, groups = queries.shape[1], queries.shape[3]
        queries = (queries.transpose(1, 2) * scaling).flatten(2, 3)
        own = queries @ keys[:num_rows, ..., : layout.length]
        if layout.hidden is not None:
            own += layout.hidden.repeat_interleave(groups, dim=1)[:, None].to(own.dtype)
        longest = max(prefix.length for prefix, _ in self._prefixes)
        scores = own.new_full((*own.shape[:3], longest + layout.length), -torch.inf)
        scores[..., longest:] = own
        for prefix, rows in self._prefixes:
            part = _by_head(queries[rows]) @ prefix.keys[layer].transpose(1, 2)
            scores[rows, ..., : prefix.length] = _by_row(part, width * groups)
        weights = scores.float().softmax(dim=-1).to(queries.dtype)
        mixed = weights[..., longest:] @ values[:num_rows, :, : layout.length]
        for prefix, rows in self._prefixes:
            part = _by_head(weights[rows][..., : prefix.length]) @ prefix.values[layer]
            mixed[rows] += _by_row(part, width * groups)
        mixed = mixed.view(num_rows, num_heads, width, groups, -1).transpose(1, 2)
        mixed = mixed.reshape(num_rows * width, *query.shape[1:])
        return mixed if layout.kept is None else mixed[layout.kept]

    def _attend_single(
        self,
        index: int,
        layer: int,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        scaling: float,
        output: Tensor,
    ) -> None:
        row = self.rows[index]
        tokens = slice(self._ends[index] - row.num_tokens, self._ends[index])
        length = row.length + row.num_tokens
        mixed = F.scaled_dot_product_attention(
            query[tokens].transpose(0, 1)[None],
            torch.cat([row.prefix.keys[layer], keys[index, ..., :length].transpose(1, 2)], dim=1)[None],
            torch.cat([row.prefix.values[layer], values[index, :, :length]], dim=1)[None],
            attn_mask=self._visible[index],
            scale=scaling,
            enable_gqa=query.shape[1] != keys.shape[1],
        )
        output[tokens] = mixed[0].transpose(0, 1)

    @cached_property
    def _prefixes(self) -> list[tuple[Prefix, Any]]:
        """Each prefix with its rows, as an index into a dimension of rows."""
        rows: dict[int, list[int]] = {}
        for index, row in enumerate(self.rows):
            rows.setdefault(id(row.prefix), []).append(index)
        if len(rows) == 1:
            return [(self.rows[0].prefix, slice(None))]
        return [
            (self.rows[indices[0]].prefix, torch.tensor(indices, device=self._device))
            for indices in rows.values()
        ]

    @cached_property
    def _padding(self) -> "_Padding":
        rows = [self.rows[index] for index in self._padded]
        width = max(row.num_tokens for row in rows)
        length = max(row.length + row.num_tokens for row in rows)
        counts = np.zeros(len(self.rows), dtype=int)
        counts[self._padded] = [row.num_tokens for row in rows]
        is_token = np.arange(width) < counts[:, None]
        # A padding token looks at the first place of its slot, so that its softmax is defined.
        starts = np.array([row.length for row in self.rows])
        last_seen = np.where(is_token, starts[:, None] + np.arange(width), 0)
        index = np.where(is_token, (self._ends - counts)[:, None] + np.arange(width), 0)
        is_full = bool(is_token.all())
        hidden = None
        if (last_seen < length - 1).any():
            hidden = torch.zeros(*last_seen.shape, length)
            hidden.masked_fill_(torch.arange(length) > torch.from_numpy(last_seen)[..., None], -torch.inf)
            hidden = hidden.to(self._device)
        return _Padding(
            tokens=self._tensor(index[is_token]),
            index=None if is_full else self._tensor(index.ravel()),
            kept=None if is_full else self._tensor(np.flatnonzero(is_token)),
            hidden=hidden,
            length=length,
        )

    def _tensor(self, indices: NDArray[np.intp]) -> Tensor:
        return torch.from_numpy(indices).to(self._device)

    @cached_property
    def _visible(self) -> dict[int, Tensor]:
        """Which places (T, P + L) each token of the long rows sees."""
        masks = {}
        for index in self._single:
            row = self.rows[index]
            places = torch.arange(row.prefix.length + row.length + row.num_tokens)
            masks[index] = (places <= places[-row.num_tokens :, None]).to(self._device)
        return masks


@dataclass(frozen=True, eq=False)
class _Padding:
    """Rows of few tokens as a rectangle.

    Args:
        tokens: (M,), the index of those that are tokens.
        index: (R * T,) of the tokens, 0 for padding; None where nothing is padded.
        kept: (M,), the places of tokens in the rectangle; None where nothing is padded.
        hidden: (R, T, L), minus infinity at the places of its slot that a token does not see, else 0; None
            where all see all.
        length: L.
    """

    tokens: Tensor
    index: Tensor | None
    kept: Tensor | None
    hidden: Tensor | None
    length: int


def _by_head(rows: Tensor) -> Tensor:
    """(R, H, M, W) as (H, R * M, W): one product for all rows."""
    return rows.transpose(0, 1).flatten(1, 2)


def _by_row(heads: Tensor, num_tokens: int) -> Tensor:
    """(H, R * M, W) as (R, H, M, W)."""
    num_heads, _, width = heads.shape
    return heads.view(num_heads, -1, num_tokens, width).transpose(0, 1)


@contextmanager
def ragged_attention(model: Any) -> Iterator[None]:
    """The model attends through `Step.attend` while this is open; its forwards need `step=`."""
    previous = model.config._attn_implementation
    model.config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        model.config._attn_implementation = previous


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    scaling: float,
    step: Step,
    **_: Any,
) -> tuple[Tensor, None]:
    """What `transformers` calls in each layer, with (N, H, 1, D)."""
    mixed = step.attend(module.layer_idx, query[:, :, 0], key[:, :, 0], value[:, :, 0], scaling)
    return mixed[:, None], None


AttentionInterface.register(ATTENTION, _attention)
