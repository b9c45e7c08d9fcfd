"""What the adapter costs in training and decoding, next to what it could be replaced with.

In: the shape of a small random backbone. Out: median seconds of every variant and the ratios that matter.
Variants are interleaved in one process and timed in process time, so that other jobs on the machine and
its changing clock hit all of them alike.
"""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any, cast

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from ucuie.adapter import HierarchicalMoeConfig
from ucuie.lab.bench.options import AdapterOptions
from ucuie.lab.bench.timing import Step, interleaved, threads
from ucuie.lab.reference import loop_over_experts

TARGET_MODULES = ["gate_proj", "up_proj", "down_proj"]
VOCABULARY = 2048
DECODE_TOKENS = 32
"""Decoded in a round."""
AUXILIARY_WEIGHT = 0.1


def bench_adapter(options: AdapterOptions) -> dict[str, Any]:
    """Time forward and backward, and decoding with a KV cache (batch 1), of all variants.

    A quarter of the tokens of a row are instruction. Every round runs each variant once, after one round that
    does not count; process time adds up what threads use.

    Returns:
        Ratios of medians, among them `fused_over_lora52`, `fused_over_backbone` and `loop_over_fused`
        (forward and backward, the auxiliary losses included) and `decode_fused_over_backbone`;
        `trainable_parameters_llama2_7b`; `settings`; and `seconds`, every variant's median.
    """
    with threads(options.num_threads):
        models = _models(hidden=options.hidden, layers=options.layers)
        inputs = _inputs(batch=options.batch, length=options.length)
        train = {name: _training_step(model, inputs[name]) for name, model in models.items()}
        train["loop"] = _looped(models["fused"], train["fused"])
        decode = {name: _decoding_step(model, inputs[name]) for name, model in models.items()}
        decode["loop"] = _looped(models["fused"], decode["fused"])
        train_seconds = interleaved(train, repeats=options.repeats)
        decode_seconds = interleaved(decode, repeats=options.repeats)
    return {
        "settings": {
            **asdict(options),
            "decode_tokens": DECODE_TOKENS,
            "vocabulary": VOCABULARY,
            "torch": torch.__version__,
        },
        "seconds": {"forward_backward": train_seconds, "decode": decode_seconds},
        "trainable_parameters_llama2_7b": trainable_parameters_llama2_7b(),
        "fused_over_lora52": train_seconds["fused"] / train_seconds["lora52"],
        "fused_over_backbone": train_seconds["fused"] / train_seconds["backbone"],
        "loop_over_fused": train_seconds["loop"] / train_seconds["fused"],
        "lora52_over_backbone": train_seconds["lora52"] / train_seconds["backbone"],
        "decode_fused_over_backbone": decode_seconds["fused"] / decode_seconds["backbone"],
        "decode_lora52_over_backbone": decode_seconds["lora52"] / decode_seconds["backbone"],
        "decode_loop_over_fused": decode_seconds["loop"] / decode_seconds["fused"],
    }


def trainable_parameters_llama2_7b() -> int:
    """Count the paper's trainable parameters (Section 4.1) without allocating any: 84,616,608."""
    with torch.device("meta"):
        model = get_peft_model(LlamaForCausalLM(LlamaConfig()), HierarchicalMoeConfig())
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _models(*, hidden: int, layers: int) -> dict[str, nn.Module]:
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=round(2.6875 * hidden),
        num_hidden_layers=layers,
        num_attention_heads=max(1, hidden // 64),
        vocab_size=VOCABULARY,
    )
    models: dict[str, nn.Module] = {"backbone": LlamaForCausalLM(config).requires_grad_(False)}
    for name, adapter in (
        ("lora4", LoraConfig(r=4, lora_alpha=8, target_modules=TARGET_MODULES, task_type="CAUSAL_LM")),
        ("lora52", LoraConfig(r=52, lora_alpha=104, target_modules=TARGET_MODULES, task_type="CAUSAL_LM")),
        ("fused", HierarchicalMoeConfig(target_modules=TARGET_MODULES)),
    ):
        models[name] = get_peft_model(LlamaForCausalLM(config), adapter)
    for model in models.values():
        # Gradient has to flow through all layers of the frozen backbone too, or it would do no backward.
        cast("Any", model).enable_input_require_grads()
    return models


def _inputs(*, batch: int, length: int) -> dict[str, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    input_ids = torch.randint(VOCABULARY, (batch, length), generator=generator)
    instruction_mask = (torch.arange(length) < length // 4).expand(batch, -1)
    plain = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids), "labels": input_ids}
    routed = {**plain, "instruction_mask": instruction_mask, "capability_labels": torch.ones(batch, 3)}
    return {"backbone": plain, "lora4": plain, "lora52": plain, "fused": routed}


def _training_step(model: Any, inputs: dict[str, Tensor]) -> Step:
    def step() -> float:
        model.train()
        model.zero_grad(set_to_none=True)
        start = time.process_time()
        loss = model(**inputs).loss
        if "instruction_mask" in inputs:
            auxiliary = model.base_model.auxiliary_losses()
            loss = loss + AUXILIARY_WEIGHT * (auxiliary.bce + auxiliary.entropy)
        loss.backward()
        return time.process_time() - start

    return step


def _decoding_step(model: Any, inputs: dict[str, Tensor]) -> Step:
    """Seconds per token of greedy decoding after the prefill of one row."""
    prompt = {
        name: value[:1] for name, value in inputs.items() if name not in ("labels", "capability_labels")
    }

    @torch.no_grad()
    def step() -> float:
        model.eval()
        fixed: AbstractContextManager[None] = nullcontext()
        if "instruction_mask" in prompt:
            fixed = model.base_model.fixed_gates(model.base_model.compute_gates(**prompt))
        cache = DynamicCache()
        with fixed:
            token = model(input_ids=prompt["input_ids"], past_key_values=cache).logits[:, -1:].argmax(-1)
            start = time.process_time()
            for _ in range(DECODE_TOKENS):
                token = model(input_ids=token, past_key_values=cache).logits[:, -1:].argmax(-1)
            return (time.process_time() - start) / DECODE_TOKENS

    return step


def _looped(model: nn.Module, step: Step) -> Step:
    """The same step of the same model, its experts in a loop."""

    def looped() -> float:
        with loop_over_experts(model):
            return step()

    return looped
