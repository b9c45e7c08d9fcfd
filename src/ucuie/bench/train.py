"""What a training step costs at the shape of a real backbone: tokens per second, operations, memory.

In: the shape of a backbone, whose weights are made up. Out: seconds of forward and backward of packed rows
through the bare frozen backbone, with PEFT's LoRA of the same number of ranks, and with the adapter; all on
one copy of the weights, so that seven billion parameters fit. The clock is read once the device has finished.
"""

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig

from ucuie.bench.timing import device_name, threads, timed
from ucuie.train.estimate import LABELLED_SHARE, packed_inputs, step_loss
from ucuie.train.packing import packed_attention
from ucuie.train.run import adapted

TARGET_MODULES = ["gate_proj", "up_proj", "down_proj"]
WARMUPS = 2


def bench_train(
    shape: PreTrainedConfig,
    *,
    rows: int = 4,
    row_tokens: int = 512,
    num_layers: int | None = None,
    gradient_checkpointing: bool = False,
    peak_tflops: float | None = None,
    repeats: int = 7,
    num_threads: int = 1,
    device: str | None = None,
) -> dict[str, Any]:
    """Time forward and backward of all variants, one after the other.

    Args:
        shape: of the backbone.
        rows: packed into a batch.
        row_tokens: tokens of each.
        num_layers: of the backbone; None takes all that its shape has.
        gradient_checkpointing: compute layers again in the backward pass.
        peak_tflops: of the device at this precision, to give the share of it that is used.
        repeats: steps; medians are taken over them, after two that do not count.
        num_threads: of torch on a CPU.
        device: None takes a GPU if there is one.

    Returns:
        Ratios of medians (`adapter_over_lora52`, `adapter_over_backbone`); for every variant
        `..._tokens_per_second`, `..._tflops` (10^12 operations of the backbone per second; what is computed
        again does not count), `..._utilisation` with a known peak, and on a GPU `..._memory_gib`; `settings`.
    """
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = torch.float32 if where.type == "cpu" else torch.bfloat16
    if num_layers is not None:
        shape = type(shape)(**shape.to_dict() | {"num_hidden_layers": num_layers, "layer_types": None})
    with torch.device(where), threads(num_threads):
        torch.manual_seed(0)
        backbone = AutoModelForCausalLM.from_config(shape, dtype=dtype).requires_grad_(False)
    # Gradient has to flow through all layers of the frozen backbone too, or it would do no backward.
    backbone.enable_input_require_grads()
    if gradient_checkpointing:
        enable = getattr(backbone, "activation_checkpointing_enable", backbone.gradient_checkpointing_enable)
        enable({"use_reentrant": False})
    lora = LoraConfig(r=52, lora_alpha=104, target_modules=TARGET_MODULES, task_type="CAUSAL_LM")
    variants: dict[str, Callable[[], Any]] = {
        "backbone": lambda: backbone,
        "lora52": lambda: get_peft_model(backbone, lora),
        "adapter": lambda: adapted(backbone, {"target_modules": TARGET_MODULES}),
    }
    operations = _operations(backbone, rows=rows, row_tokens=row_tokens)
    report: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    with threads(num_threads):
        for name, make in variants.items():
            seconds[name], memory = _measure(make(), where, rows=rows, row_tokens=row_tokens, repeats=repeats)
            tflops = operations / seconds[name] / 1e12
            report[f"{name}_tokens_per_second"] = rows * row_tokens / seconds[name]
            report[f"{name}_tflops"] = tflops
            if peak_tflops is not None:
                report[f"{name}_utilisation"] = tflops / peak_tflops
            if memory is not None:
                report[f"{name}_memory_gib"] = memory / 2**30
    return {
        "settings": {
            "device": device_name(where),
            "dtype": str(dtype).removeprefix("torch."),
            "rows": rows,
            "row_tokens": row_tokens,
            "layers": shape.num_hidden_layers,
            "hidden": shape.hidden_size,
            "gradient_checkpointing": gradient_checkpointing,
            "repeats": repeats,
            "torch": torch.__version__,
        },
        "seconds": seconds,
        "adapter_over_lora52": seconds["adapter"] / seconds["lora52"],
        "adapter_over_backbone": seconds["adapter"] / seconds["backbone"],
        **report,
    }


def _measure(
    model: Any, device: torch.device, *, rows: int, row_tokens: int, repeats: int
) -> tuple[float, int | None]:
    """Median seconds of a step and, on a GPU, the most bytes; the backbone is left as it was."""
    model.train()
    model.to(device)
    inputs = {name: value.to(device) for name, value in packed_inputs(rows, row_tokens).items()}
    backbone = model.get_base_model() if hasattr(model, "get_base_model") else model

    def work() -> None:
        model.zero_grad(set_to_none=True)
        torch.autograd.backward(step_loss(model, inputs, [row_tokens] * rows))

    step = timed(work, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with packed_attention(backbone):
        measured = [step() for _ in range(WARMUPS + repeats)][WARMUPS:]
    memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    if model is not backbone:
        model.unload()
        backbone.requires_grad_(False)
    return median(measured), memory


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
