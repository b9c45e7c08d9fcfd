"""What the adapter costs in training and decoding, next to what it could be replaced with.

In: the shape of a small random backbone. Out: median seconds of every variant and the ratios that matter.
Variants are interleaved in one process and timed in process time, so that other jobs on the machine and
its changing clock hit all of them alike.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, LlamaConfig

from ucuie.lab.bench.options import AdapterOptions
from ucuie.lab.bench.timing import (
    Work,
    interleaved,
    made_up_backbone,
    make_variants,
    settings_of,
    trainable_parameters,
    with_lora,
)
from ucuie.lab.reference import loop_over_experts
from ucuie.model.backbone import with_same_weights

VOCABULARY = 2048
DECODE_TOKENS = 32
"""Decoded in a round."""
_CPU = torch.device("cpu")


def bench_adapter(options: AdapterOptions) -> dict[str, Any]:
    """Time forward and backward, and decoding with a KV cache (batch 1), of all variants.

    A quarter of the tokens of a row are instruction. Every round runs each variant once, after one round that
    does not count; process time adds up what threads use.
    """
    models, inputs = _models(options), _inputs(options)
    medians = {}
    for name, work_of in (("forward_backward", _training), ("decode", _decoding)):
        works = {variant: work_of(model, inputs) for variant, model in models.items()}
        works["loop"] = loop_over_experts(models["fused"])(works["fused"])
        medians[name] = interleaved(works, _CPU, repeats=options.repeats, num_threads=options.num_threads)
    train = medians["forward_backward"]
    decode = {name: seconds / DECODE_TOKENS for name, seconds in medians["decode"].items()}
    return {
        "settings": settings_of(options, _CPU, decode_tokens=DECODE_TOKENS, vocabulary=VOCABULARY),
        "seconds": {"forward_backward": train, "decode": decode},
        # The paper's (Section 4.1): 84,616,608.
        "trainable_parameters_llama2_7b": trainable_parameters(LlamaConfig(), {}),
        "fused_over_lora52": train["fused"] / train["lora52"],
        "fused_over_backbone": train["fused"] / train["backbone"],
        "loop_over_fused": train["loop"] / train["fused"],
        "lora52_over_backbone": train["lora52"] / train["backbone"],
        "decode_fused_over_backbone": decode["fused"] / decode["backbone"],
        "decode_lora52_over_backbone": decode["lora52"] / decode["backbone"],
        "decode_loop_over_fused": decode["loop"] / decode["fused"],
    }


def _models(options: AdapterOptions) -> dict[str, Any]:
    shape = LlamaConfig(
        hidden_size=options.hidden,
        intermediate_size=round(2.6875 * options.hidden),
        num_hidden_layers=options.layers,
        num_attention_heads=max(1, options.hidden // 64),
        vocab_size=VOCABULARY,
    )
    backbone = made_up_backbone(shape, device=_CPU)
    models = make_variants(backbone) | {"lora4": with_lora(with_same_weights(backbone), 4)}
    models["fused"] = models.pop("adapter")
    for model in models.values():
        # Gradient has to flow through all layers of the frozen backbone too, or it would do no backward.
        model.enable_input_require_grads()
    return models


def _inputs(options: AdapterOptions) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    input_ids = torch.randint(VOCABULARY, (options.batch, options.length), generator=generator)
    instruction_mask = (torch.arange(options.length) < options.length // 4).expand(options.batch, -1)
    return {
        "input_ids": input_ids,
        "attention_mask": torch.ones_like(input_ids),
        "instruction_mask": instruction_mask,
        "capability_labels": torch.ones(options.batch, 3),
    }


def _has_experts(model: Any) -> bool:
    return hasattr(model.base_model, "compute_gates")


def _training(model: Any, inputs: dict[str, Tensor]) -> Work:
    model.train()
    if not _has_experts(model):
        inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}

    def work() -> None:
        model.zero_grad(set_to_none=True)
        loss = model(**inputs, labels=inputs["input_ids"]).loss
        if _has_experts(model):
            auxiliary = model.base_model.auxiliary_losses()
            loss = loss + auxiliary.bce + auxiliary.entropy
        loss.backward()

    return work


@torch.no_grad()
def _decoding(model: Any, inputs: dict[str, Tensor]) -> Work:
    """Greedy decoding after the prefill of one row, which is done once."""
    model.eval()
    prompt = {name: value[:1] for name, value in inputs.items() if name != "capability_labels"}
    cache = DynamicCache()

    def gated() -> AbstractContextManager[Any]:
        return nullcontext() if gates is None else model.base_model.fixed_gates(gates)

    @torch.no_grad()
    def work() -> None:
        token = prompt["input_ids"][:, -1:]
        with gated():
            for _ in range(DECODE_TOKENS):
                token = model(input_ids=token, past_key_values=cache).logits[:, -1:].argmax(-1)
        cache.crop(-DECODE_TOKENS)

    gates = model.base_model.compute_gates(**prompt) if _has_experts(model) else None
    with gated():
        model(input_ids=prompt["input_ids"], past_key_values=cache)
    return work
