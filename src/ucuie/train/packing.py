"""Several rows as one, each instruction and text after the other: nothing is padded or computed in vain.

`pack` makes such a batch, with a `PackedLayout` that says where the instructions and texts are; by that,
`attend_packed` lets a text see the instruction it stands behind and itself, nothing else. Keys and values of
an instruction are there once, however many texts stand behind it. `packed_attention` puts that into a model.
Where no instruction is shared, the flash and flex attention of transformers see from the positions, which
begin anew with every instruction, where a sequence ends.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from ucuie.errors import ConfigError
from ucuie.train.objective import IGNORED
from ucuie.train.rows import TrainingRow, inputs_of, rows_that_count

PACKED_ATTENTION = "ucuie_packed"
SEPARABLE_ATTENTIONS = ("flash_attention_2", "flash_attention_3", "flex_attention")
"""Attentions of transformers that keep packed sequences apart themselves, if each has its own instruction."""
ALIKE, SPARE = 1.5, 8
"""Texts share one if the longest has at most ALIKE times the tokens of the shortest, and SPARE more."""


@dataclass(frozen=True)
class Rectangle:
    """Sequences gathered into a rectangle; what a line lacks at its end is padding.

    Args:
        places: the place of each token in the batch, (N, S).
        lengths: tokens of each sequence, (N,).
        owners: the instruction that each stands behind, (N,); those of instructions are themselves.
    """

    places: Tensor
    lengths: Tensor
    owners: Tensor

    @property
    def is_padding(self) -> Tensor:
        """True at places that stand for no token, (N, S)."""
        return torch.arange(self.places.shape[1], device=self.lengths.device) >= self.lengths.unsqueeze(1)


@dataclass(frozen=True)
class PackedLayout:
    """The places of the G instructions and the texts of a packed batch of T tokens.

    Args:
        texts: rectangles of texts of similar length, so that little is padding.
        returns: where each token of the batch is in the rectangles, one written after the other, (T,).
    """

    instructions: Rectangle
    texts: tuple[Rectangle, ...]
    returns: Tensor

    @classmethod
    def of(cls, rows: Sequence[tuple[int, Sequence[int]]]) -> Self:
        """The layout of rows, each given by the lengths of its instruction and of the texts behind it."""
        lengths = np.array([length for instruction, texts in rows for length in (instruction, *texts)])
        starts = lengths.cumsum() - lengths
        num_texts = np.array([len(texts) for _, texts in rows])
        owners = np.arange(len(rows)).repeat(num_texts + 1)
        instructions = (num_texts + 1).cumsum() - num_texts - 1
        texts = np.delete(np.arange(len(lengths)), instructions)
        returns = np.empty(lengths.sum(), np.int64)
        rectangles, num_places = [], 0
        for chosen in (instructions, *_alike(texts, lengths)):
            columns = np.arange(lengths[chosen].max())
            is_token = columns < lengths[chosen, None]
            places = np.where(is_token, starts[chosen, None] + columns, 0)
            returns[places[is_token]] = num_places + np.flatnonzero(is_token)
            num_places += places.size
            rectangles.append(Rectangle(*map(torch.tensor, (places, lengths[chosen], owners[chosen]))))
        return cls(rectangles[0], tuple(rectangles[1:]), torch.tensor(returns))

    @property
    def rectangles(self) -> tuple[Rectangle, ...]:
        """All of them, in the order of `returns`."""
        return (self.instructions, *self.texts)

    def to(self, device: torch.device, non_blocking: bool = False) -> Self:
        """The layout on a device."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=non_blocking)

        instructions, *texts = (Rectangle(*map(moved, vars(part).values())) for part in self.rectangles)
        return type(self)(instructions, tuple(texts), moved(self.returns))

    def places_seen(self, rectangle: Rectangle) -> Tensor:
        """The places that the tokens of a rectangle may see: of its instructions, then its own, (N, L)."""
        if rectangle is self.instructions:
            return rectangle.places
        return torch.cat([self.instructions.places[rectangle.owners], rectangle.places], dim=1)

    def hidden(self, rectangle: Rectangle, window: int | None = None) -> Tensor:
        """A mask of what a token of a rectangle does not see of `places_seen`, (N or 1, S, L).

        It sees `window` tokens, itself included; None is no limit.
        """
        own = torch.arange(rectangle.places.shape[1], device=rectangle.owners.device)
        itself = _is_hidden(own.unsqueeze(1) - own, window).unsqueeze(0)
        if rectangle is self.instructions:
            return itself
        shared = torch.arange(self.instructions.places.shape[1], device=rectangle.owners.device)
        lengths = self.instructions.lengths[rectangle.owners].view(-1, 1, 1)
        before = _is_hidden(lengths + own.unsqueeze(1) - shared, window) | (shared >= lengths)
        return torch.cat([before, itself.expand(len(lengths), -1, -1)], dim=2)


def _alike(texts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The texts in groups of similar length, the shortest first."""
    ordered = texts[np.argsort(lengths[texts], kind="stable")]
    while len(ordered):
        most = ALIKE * lengths[ordered[0]] + SPARE
        size = int(np.searchsorted(lengths[ordered], most, side="right"))
        yield ordered[:size]
        ordered = ordered[size:]


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
    """The mixtures of values (T, H, D) that the tokens of a packed batch read.

    The query is (T, H, D), key and value are (T, K, D), where K divides H. `scaling` multiplies the products
    of queries and keys. A token sees `window` tokens, itself included; None is no limit.
    """
    # Autocast leaves queries and keys in float32, for they were turned by their positions; products are not.
    query, key = query.to(value.dtype), key.to(value.dtype)
    with torch.autocast(value.device.type, enabled=False):
        mixed: Tensor = _PackedAttention.apply(  # type: ignore[no-untyped-call]
            query, key, value, layout, scaling, window
        )
    return mixed


class _PackedAttention(torch.autograd.Function):
    """Gathers, products and the softmax between them, rectangle by rectangle.

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
        weights, mixed = [], []
        for rectangle in layout.rectangles:
            queries, keys, values = _gathered_states(query, key, value, layout, rectangle)
            one = _weights(queries, keys, layout.hidden(rectangle, window), scaling)
            weights.append(one)
            mixed.append(_without_groups(one @ values, len(rectangle.places), query.shape[1]))
        ctx.save_for_backward(query, key, value, *weights)
        ctx.layout, ctx.scaling = layout, scaling
        return torch.cat(mixed).index_select(0, layout.returns)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *weights = ctx.saved_tensors
        layout: PackedLayout = ctx.layout
        of_queries, of_keys, of_values = [], [], []
        for rectangle, one in zip(layout.rectangles, weights, strict=True):
            queries, keys, values = _gathered_states(query, key, value, layout, rectangle)
            gathered = _gathered(gradients[0], rectangle.places)
            gathered.masked_fill_(rectangle.is_padding[..., None, None], 0)
            gradient = _with_groups(gathered, key.shape[1])
            of_values.append(_lines(one.mT @ gradient, len(rectangle.places)))
            of_scores = torch._softmax_backward_data(gradient @ values.mT, one, -1, one.dtype)
            of_scores.mul_(ctx.scaling)
            of_keys.append(_lines(of_scores.mT @ queries, len(rectangle.places)))
            of_queries.append(_without_groups(of_scores @ keys, len(rectangle.places), query.shape[1]))
        of_query = torch.cat(of_queries).index_select(0, layout.returns)
        return of_query, _back(of_keys, layout), _back(of_values, layout), None, None, None


def _gathered_states(
    query: Tensor, key: Tensor, value: Tensor, layout: PackedLayout, rectangle: Rectangle
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (N * K, S * H / K, D), and the keys and values that they see, (N * K, L, D)."""
    seen = layout.places_seen(rectangle)
    queries = _with_groups(_gathered(query, rectangle.places), key.shape[1])
    keys, values = (_gathered(states, seen).transpose(1, 2).flatten(0, 1) for states in (key, value))
    return queries, keys, values


def _weights(queries: Tensor, keys: Tensor, is_hidden: Tensor, scaling: float) -> Tensor:
    """The softmax of the visible products, (N * K, S * H / K, L), for a mask (N or 1, S, L)."""
    scores = queries @ keys.mT
    num_lines, num_tokens, num_seen = is_hidden.shape
    by_token = scores.view(num_lines, -1, num_tokens, scores.shape[1] // num_tokens, num_seen)
    mask = torch.zeros_like(is_hidden, dtype=scores.dtype).masked_fill_(is_hidden, -torch.inf)
    by_token.mul_(scaling).add_(mask.view(num_lines, 1, num_tokens, 1, num_seen))
    return scores.softmax(-1)


def _gathered(states: Tensor, places: Tensor) -> Tensor:
    """(B, S, heads, D) of (T, heads, D), by places (B, S)."""
    return states.index_select(0, places.flatten()).view(*places.shape, *states.shape[1:])


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
    of_instructions, *of_texts = gradients
    num_shared = of_instructions.shape[1]
    own = []
    for rectangle, one in zip(layout.texts, of_texts, strict=True):
        of_instructions = of_instructions.index_add(0, rectangle.owners, one[:, :num_shared])
        own.append(one[:, num_shared:].flatten(0, 1))
    return torch.cat([of_instructions.flatten(0, 1), *own]).index_select(0, layout.returns)


def pack(rows: Sequence[TrainingRow]) -> dict[str, Any]:
    """Rows as one, with the inputs of `objective.task_loss` and of the adapter.

    `input_ids`, `position_ids`, `segment_ids`, `labels` and `instruction_mask` are (1, T),
    `capability_labels` is (S, C), `allowed` is (N, ceil(V / 32)) and absent for the full objective; `tasks`
    are S names and `layout` says where the parts of the S rows are. Rows that do not count are left out;
    where none counts, S is 1 and `is_counted` is False.
    """
    rows = rows_that_count(rows)
    ids: list[int] = []
    positions: list[int] = []
    segments: list[int] = []
    learned: list[int] = []
    is_instruction: list[bool] = []
    for segment, row in enumerate(rows):
        num_shared = len(row.instruction_ids)
        ids += row.instruction_ids
        positions += range(num_shared)
        is_instruction += [True] * num_shared
        for text in row.texts:
            learned += (text.positions + len(ids)).tolist()
            ids += text.ids
            positions += range(num_shared, num_shared + len(text.ids))
        segments += [segment] * (len(ids) - len(segments))
        is_instruction += [False] * (len(ids) - len(is_instruction))
    input_ids = torch.tensor(ids)
    labels = torch.full_like(input_ids, IGNORED)
    labels[learned] = input_ids[learned]
    lengths = [(len(row.instruction_ids), [len(text.ids) for text in row.texts]) for row in rows]
    return {
        "input_ids": input_ids.unsqueeze(0),
        "position_ids": torch.tensor([positions]),
        "segment_ids": torch.tensor([segments]),
        "layout": PackedLayout.of(lengths),
        "labels": labels.unsqueeze(0),
        "instruction_mask": torch.tensor([is_instruction]),
        **inputs_of(rows),
    }


@contextmanager
def packed_attention(model: PreTrainedModel, *, shares_instructions: bool = False) -> Iterator[None]:
    """Lets a backbone read packed batches, and nothing else, while it is open.

    With `shares_instructions` several texts may stand behind an instruction.

    Raises:
        ConfigError: its attention cannot be made to keep sequences apart, or not behind one instruction.
    """
    attention = model.config._attn_implementation
    if attention in SEPARABLE_ATTENTIONS and not shares_instructions:
        yield
        return
    if attention != "sdpa":
        lacking = (
            "texts apart that share an instruction; set texts_per_row: 1"
            if attention in SEPARABLE_ATTENTIONS
            else "packed examples apart; set packing: false"
        )
        raise ConfigError(
            f"the backbone computes its attention with {attention!r}, which cannot keep {lacking}"
        )
    model.set_attn_implementation(PACKED_ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation(attention)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    layout: PackedLayout | None = None,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """The attention function of transformers for a packed batch: queries (1, heads, T, width)."""
    if layout is None or attention_mask is not None:
        raise ValueError("this model reads packed batches only; their layout did not arrive, or a mask did")
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    mixed = attend_packed(query, key, value, layout, scaling=scaling, window=sliding_window)
    return mixed.unsqueeze(0), None


# Without a mask function of the same name, transformers makes no mask.
AttentionInterface.register(PACKED_ATTENTION, _attend)
