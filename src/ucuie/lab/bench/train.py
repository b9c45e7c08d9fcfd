"""What a training step costs at the shape of a real backbone: tokens per second, operations, memory.

In: the shape of a backbone, whose weights are made up. Out: seconds of forward and backward of packed rows
through the bare frozen backbone, with PEFT's LoRA of the same number of ranks, and with the adapter; all on
one copy of the weights, so that seven billion parameters fit. The clock is read once the device has finished.
"""

from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig

from ucuie.lab.bench.options import TrainOptions
from ucuie.lab.bench.timing import interleaved, settings_of, threads, timed
from ucuie.lab.bench.variants import (
    backbone_settings,
    bench_device,
    made_up_backbone,
    make_variants,
    peak_bytes,
)
from ucuie.model.backbone import without_adapter
from ucuie.train.estimate import LABELLED_SHARE, packed_inputs, step_loss
from ucuie.train.packing import packed_attention


def bench_train(shape: PreTrainedConfig, options: TrainOptions) -> dict[str, Any]:
    """Time forward and backward of all variants, which take turns, after one step that does not count.

    Returns:
        Ratios of medians (`adapter_over_lora52`, `adapter_over_backbone`); for every variant
        `..._tokens_per_second`, `..._tflops` (10^12 operations of the backbone per second; what is computed
        again does not count), `..._utilisation` with a known peak, and on a GPU `..._memory_gib`; `settings`.
    """
    where = bench_device(options.device)
    with threads(options.num_threads):
        backbone = made_up_backbone(shape, num_layers=options.layers, device=where)

    def prepare(one: Any) -> None:
        # Gradient has to flow through all layers of the frozen backbone too, or it would do no backward.
        one.enable_input_require_grads()
        if options.gradient_checkpointing:
            enable = getattr(one, "activation_checkpointing_enable", one.gradient_checkpointing_enable)
            enable({"use_reentrant": False})

    variants = make_variants(backbone, prepare)
    inputs = {
        name: value.to(where) for name, value in packed_inputs(options.rows, options.row_tokens).items()
    }
    steps = {name: timed(_Work(model, inputs), where) for name, model in variants.items()}
    with threads(options.num_threads), ExitStack() as stack:
        for model in variants.values():
            model.train()
            stack.enter_context(packed_attention(without_adapter(model)))
        seconds = interleaved(steps, repeats=options.repeats)
        memory = peak_bytes(variants, steps) if where.type == "cuda" else {}
    operations = _operations(backbone, rows=options.rows, row_tokens=options.row_tokens)
    report: dict[str, Any] = {}
    for name in variants:
        tflops = operations / seconds[name] / 1e12
        report[f"{name}_tokens_per_second"] = options.rows * options.row_tokens / seconds[name]
        report[f"{name}_tflops"] = tflops
        if options.peak_tflops is not None:
            report[f"{name}_utilisation"] = tflops / options.peak_tflops
        if name in memory:
            report[f"{name}_memory_gib"] = memory[name] / 2**30
    return {
        "settings": {
            **settings_of(options, "rows", "row_tokens", "gradient_checkpointing", "repeats", device=where),
            **backbone_settings(backbone),
        },
        "seconds": seconds,
        "adapter_over_lora52": seconds["adapter"] / seconds["lora52"],
        "adapter_over_backbone": seconds["adapter"] / seconds["backbone"],
        **report,
    }


class _Work:
    """Forward and backward of one batch."""

    def __init__(self, model: Any, inputs: dict[str, Any]) -> None:
        self._model, self._inputs = model, inputs

    def __call__(self) -> None:
        torch.autograd.backward(step_loss(self._model, self._inputs))
        # Afterwards, so that no gradient is there while another variant has its turn.
        self._model.zero_grad(set_to_none=True)


def _operations(backbone: Any, *, rows: int, row_tokens: int) -> float:
    """Multiplications and additions of a step of the frozen backbone.

    Its weights have no gradient: 2 operations per weight and token forward, 2 backward. Causal attention is
    two products of half a square, and twice that backward.
    """
    output = backbone.get_output_embeddings()
    linears = [module for module in backbone.modules() if isinstance(module, nn.Linear)]
    weights = sum(linear.weight.numel() for linear in linears if linear is not output)
    shape = backbone.config
    head = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
    width = shape.num_attention_heads * head
    attention = 6 * shape.num_hidden_layers * width * row_tokens
    per_token: float = 4 * (weights + LABELLED_SHARE * output.weight.numel()) + attention
    return rows * row_tokens * per_token
