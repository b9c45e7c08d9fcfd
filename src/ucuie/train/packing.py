"""Several rows as one, each instruction and text after the other: nothing is padded or computed in vain.

`pack` makes such a batch; `packed_attention` lets a model read it, by the layout that comes with it. Where no
instruction is shared, the flash and flex attention of transformers see from the positions, which begin anew
with every instruction, where a sequence ends.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from ucuie.errors import ConfigError
from ucuie.train.objective import IGNORED
from ucuie.train.packed_attention import PackedLayout, attend_packed
from ucuie.train.training_set import TrainingRow, counted, empty_mark, stacked_masks

PACKED_ATTENTION = "ucuie_packed"
SEPARABLE_ATTENTIONS = ("flash_attention_2", "flash_attention_3", "flex_attention")
"""Attentions of transformers that keep packed sequences apart themselves, if each has its own instruction."""


def pack(rows: Sequence[TrainingRow]) -> dict[str, Any]:
    """Rows as one, with the inputs of `objective.task_loss` and of the adapter.

    `input_ids`, `position_ids`, `segment_ids`, `labels` and `instruction_mask` are (1, T),
    `capability_labels` is (S, C), `allowed` is (N, ceil(V / 32)) and absent for the full objective; `tasks`
    are S names and `layout` says where the parts of the S rows are. Rows that do not count are left out;
    where none counts, S is 1 and `is_counted` is False.
    """
    rows = counted(rows)
    ids: list[int] = []
    positions: list[int] = []
    segments: list[int] = []
    learned: list[int] = []
    for segment, row in enumerate(rows):
        num_shared = len(row.instruction_ids)
        ids += row.instruction_ids
        positions += range(num_shared)
        for text in row.texts:
            learned += (text.positions + len(ids)).tolist()
            ids += text.ids
            positions += range(num_shared, num_shared + len(text.ids))
        segments += [segment] * (len(ids) - len(segments))
    input_ids = torch.tensor(ids)
    labels = torch.full_like(input_ids, IGNORED)
    labels[learned] = input_ids[learned]
    lengths = [(len(row.instruction_ids), [len(text.ids) for text in row.texts]) for row in rows]
    is_instruction = chain.from_iterable(
        [True] * instruction + [False] * sum(texts) for instruction, texts in lengths
    )
    return {
        "input_ids": input_ids.unsqueeze(0),
        "position_ids": torch.tensor([positions]),
        "segment_ids": torch.tensor([segments]),
        "layout": PackedLayout.of(lengths),
        "labels": labels.unsqueeze(0),
        "instruction_mask": torch.tensor([[*is_instruction]]),
        "capability_labels": torch.tensor([row.capability_labels for row in rows]),
        "tasks": [row.task for row in rows],
        **stacked_masks(rows),
        **empty_mark(rows),
    }


@contextmanager
def packed_attention(model: PreTrainedModel, *, shares_instructions: bool = False) -> Iterator[None]:
    """Lets `model` read packed batches, and nothing else, while it is open.

    Args:
        model: the backbone.
        shares_instructions: several texts may stand behind one instruction.

    Raises:
        ConfigError: its attention cannot be made to keep sequences apart, or not behind one instruction.
    """
    attention = model.config._attn_implementation
    if attention in SEPARABLE_ATTENTIONS and not shares_instructions:
        yield
        return
    if attention in SEPARABLE_ATTENTIONS:
        raise ConfigError(
            f"the backbone computes its attention with {attention!r}, which cannot keep texts "
            "apart that share an instruction; set texts_per_row: 1"
        )
    if attention != "sdpa":
        raise ConfigError(
            f"the backbone computes its attention with {attention!r}, which cannot keep packed "
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
    scaling: float,
    layout: PackedLayout | None = None,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """The attention function of transformers for a packed batch: queries (1, heads, T, width).

    Raises:
        ValueError: nothing says where the sequences end, or there is padding.
    """
    if layout is None or attention_mask is not None:
        raise ValueError("this model reads packed batches only; their layout did not arrive, or a mask did")
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    mixed = attend_packed(query, key, value, layout, scaling=scaling, window=sliding_window)
    return mixed.unsqueeze(0), None


# Without a mask function of the same name, transformers makes no mask.
AttentionInterface.register(PACKED_ATTENTION, _attend)
