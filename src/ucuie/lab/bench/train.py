"""What a training step costs at the shape of a real backbone: tokens per second, operations, memory.

In: the shape of a backbone, whose weights are made up. Out: seconds of forward and backward of packed rows
through the bare frozen backbone, with PEFT's LoRA of the same number of ranks, and with the adapter; all on
one copy of the weights, so that seven billion parameters fit. The clock is read once the device has finished.
"""

from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig

from ucuie.lab.bench.options import TrainOptions
from ucuie.lab.bench.timing import (
    backbone_settings,
    bench_device,
    interleaved,
    made_up_backbone,
    make_variants,
    peak_bytes,
    rates,
    settings_of,
)
from ucuie.model.backbone import without_adapter
from ucuie.train.estimate import LABELLED_SHARE, packed_inputs, step_loss
from ucuie.train.packing import packed_attention


def bench_train(shape: PreTrainedConfig, options: TrainOptions) -> dict[str, Any]:
    """Time forward and backward of all variants, which take turns, after one step that does not count.

    Returns:
        Ratios of medians, and the `rates` of every variant, in which what is computed again does not count.
    """
    where = bench_device(options.device)
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
    works = {name: partial(_step, model, inputs) for name, model in variants.items()}
    with ExitStack() as stack:
        for model in variants.values():
            model.train()
            stack.enter_context(packed_attention(without_adapter(model)))
        seconds = interleaved(works, where, repeats=options.repeats, num_threads=options.num_threads)
        memory = peak_bytes(variants, works, where)
    tokens = options.rows * options.row_tokens
    operations = tokens * _operations_per_token(backbone, options.row_tokens)
    return {
        "settings": settings_of(options, where, **backbone_settings(backbone)),
        "seconds": seconds,
        "adapter_over_lora52": seconds["adapter"] / seconds["lora52"],
        "adapter_over_backbone": seconds["adapter"] / seconds["backbone"],
        **rates(seconds, memory, tokens=tokens, operations=operations, peak_tflops=options.peak_tflops),
    }


def _step(model: Any, inputs: dict[str, Any]) -> None:
    torch.autograd.backward(step_loss(model, inputs))
    # Afterwards, so that no gradient is there while another variant has its turn.
    model.zero_grad(set_to_none=True)


def _operations_per_token(backbone: Any, row_tokens: int) -> float:
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
    return per_token
