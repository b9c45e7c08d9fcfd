"""Several sequences in one row, one after the other: nothing is padded, so nothing is computed in vain.

`pack` makes such a batch; positions begin anew with every sequence. Flash and flex attention of transformers
see from these where a sequence ends. For its default attention, which would compute the whole square of
tokens by tokens and mask most of it, `packed_attention` stands in, one sequence after the other.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from ucuie.errors import ConfigError
from ucuie.train.objective import IGNORED
from ucuie.train.training_set import TrainingRow, counted, empty_mark, stacked_masks

PACKED_ATTENTION = "ucuie_packed"
SEPARABLE_ATTENTIONS = ("flash_attention_2", "flash_attention_3", "flex_attention")
"""Attentions of transformers that keep packed sequences apart themselves, without waste."""


def pack(rows: Sequence[TrainingRow]) -> dict[str, Any]:
    """Rows as one, with the inputs of `objective.task_loss` and of the adapter.

    `input_ids`, `position_ids`, `segment_ids`, `labels` and `instruction_mask` are (1, T),
    `capability_labels` is (S, C), `allowed` is (N, ceil(V / 32)) and absent for the full objective; `tasks`
    are S names and `segment_lengths` the S lengths. Rows that do not count are left out; where
    none counts, S is 1 and `is_counted` is False.
    """
    rows = counted(rows)
    lengths = tuple(len(row.ids) for row in rows)
    input_ids = torch.cat([torch.tensor(row.ids) for row in rows])
    positions = torch.cat([torch.arange(length) for length in lengths])
    segments = torch.arange(len(rows)).repeat_interleave(torch.tensor(lengths))
    instruction_lengths = torch.tensor([row.instruction_length for row in rows])
    starts = np.cumsum([0, *lengths[:-1]])
    learned = np.concatenate([row.positions + start for row, start in zip(rows, starts, strict=True)])
    labels = torch.full_like(input_ids, IGNORED)
    labels[learned] = input_ids[learned]
    return {
        "input_ids": input_ids.unsqueeze(0),
        "position_ids": positions.unsqueeze(0),
        "segment_ids": segments.unsqueeze(0),
        "segment_lengths": lengths,
        "labels": labels.unsqueeze(0),
        "instruction_mask": (positions < instruction_lengths[segments]).unsqueeze(0),
        "capability_labels": torch.tensor([row.capability_labels for row in rows]),
        "tasks": [row.task for row in rows],
        **stacked_masks(rows),
        **empty_mark(rows),
    }


@contextmanager
def packed_attention(model: PreTrainedModel) -> Iterator[None]:
    """Lets `model` read packed batches, and nothing else, while it is open.

    Raises:
        ConfigError: its attention cannot be made to keep sequences apart.
    """
    attention = model.config._attn_implementation
    if attention in SEPARABLE_ATTENTIONS:
        yield
        return
    if attention != "sdpa":
        raise ConfigError(
            f"config error: the backbone computes its attention with {attention!r}, which cannot keep packed "
            "examples apart; set packing: false"
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
    segment_lengths: Sequence[int] | None = None,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """The attention function of transformers for a packed batch: queries (1, heads, T, width).

    Raises:
        ValueError: nothing says where the sequences end, or there is padding.
    """
    if segment_lengths is None or attention_mask is not None:
        raise ValueError(
            "this model reads packed batches only; their segment_lengths did not arrive, or a mask did"
        )
    parts = []
    lengths = list(segment_lengths)
    segments = (torch.split(states, lengths, dim=2) for states in (query, key, value))
    for part in zip(*segments, strict=True):
        length = part[0].shape[2]
        mask = None
        if sliding_window is not None and length > sliding_window:
            places = torch.arange(length, device=query.device)
            distances = places[:, None] - places
            mask = ((distances >= 0) & (distances < sliding_window))[None, None]
        parts.append(sdpa_attention_forward(module, *part, mask, is_causal=True, **options)[0])
    return torch.cat(parts, dim=1), None


# Without a mask function of the same name, transformers makes no mask.
AttentionInterface.register(PACKED_ATTENTION, _attend)
