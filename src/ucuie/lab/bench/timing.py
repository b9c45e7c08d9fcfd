"""Fair timing: contenders take turns in one process, and medians are compared.

Variants of a backbone of made-up weights: bare, with PEFT's LoRA, and with the adapter of as many ranks. They
lie on one copy of the weights, so that seven billion parameters fit on a GPU.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from statistics import median
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from ucuie.model.backbone import with_same_weights
from ucuie.train.run import adapted

TARGET_MODULES = ["gate_proj", "up_proj", "down_proj"]

Work = Callable[[], object]
"""What a contender does in its turn."""


def interleaved(
    works: Mapping[str, Work], device: torch.device, *, repeats: int, num_threads: int | None = None
) -> dict[str, float]:
    """Median seconds of every work, in turn, `repeats` times after one round that does not count.

    Of the process on a CPU, since other jobs blur the clock on the wall; of a GPU once it has finished.
    """
    previous = torch.get_num_threads()
    torch.set_num_threads(num_threads or previous)
    seconds: dict[str, list[float]] = {name: [] for name in works}
    try:
        for _ in range(1 + repeats):
            for name, work in works.items():
                seconds[name].append(_seconds(work, device))
    finally:
        torch.set_num_threads(previous)
    return {name: median(values[1:]) for name, values in seconds.items()}


def _seconds(work: Work, device: torch.device) -> float:
    if device.type == "cpu":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def settings_of(options: Any, device: torch.device, **others: object) -> dict[str, Any]:
    """The circumstances of a measurement: the options, the device, the version of torch."""
    return {**asdict(options), "device": device_name(device), "torch": torch.__version__, **others}


def device_name(device: torch.device) -> str:
    """The name of a GPU; times mean nothing without it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def bench_device(named: str | None) -> torch.device:
    """The device of that name; without a name a GPU if there is one."""
    return torch.device(named or ("cuda" if torch.cuda.is_available() else "cpu"))


def made_up_backbone(
    shape: PreTrainedConfig, *, num_layers: int | None = None, device: torch.device
) -> PreTrainedModel:
    """A frozen backbone of random weights: bf16 on a GPU, fp32 on a CPU; without a number, of all layers."""
    if num_layers is not None:
        shape = type(shape)(**shape.to_dict() | {"num_hidden_layers": num_layers, "layer_types": None})
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    with torch.device(device):
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(shape, dtype=dtype).requires_grad_(False)
        return model


def backbone_settings(backbone: PreTrainedModel) -> dict[str, Any]:
    """The settings of a backbone of made-up weights."""
    return {
        "dtype": str(backbone.dtype).removeprefix("torch."),
        "layers": backbone.config.num_hidden_layers,
        "hidden": backbone.config.hidden_size,
    }


def with_lora(backbone: PreTrainedModel, rank: int) -> PeftModel:
    """The backbone with a fresh LoRA of PEFT's."""
    lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGET_MODULES, task_type="CAUSAL_LM")
    return get_peft_model(backbone, lora)


def make_variants(
    backbone: PreTrainedModel, prepare: Callable[[Any], object] = lambda backbone: None
) -> dict[str, Any]:
    """The variants by their names; `prepare` is called with each one's backbone before it is adapted."""
    bare, for_lora, for_adapter = (with_same_weights(backbone) for _ in range(3))
    for one in (bare, for_lora, for_adapter):
        prepare(one)
    return {
        "backbone": bare,
        "lora52": with_lora(for_lora, 52),
        "adapter": adapted(for_adapter, {"target_modules": TARGET_MODULES}),
    }


def trainable_parameters(shape: PreTrainedConfig, adapter: dict[str, Any]) -> int:
    """Parameters that an adapter of these settings puts on a backbone; none are allocated."""
    with torch.device("meta"):
        model = adapted(AutoModelForCausalLM.from_config(shape), adapter)
    count: int = model.num_parameters(only_trainable=True)
    return count


def own_bytes(model: Any) -> int:
    """Bytes of the weights that are a variant's alone."""
    return sum(
        parameter.nbytes
        for name, parameter in model.named_parameters()
        if "lora_" in name or "hierarchical_moe_" in name
    )


def rates(
    seconds: Mapping[str, float],
    memory: Mapping[str, int],
    *,
    tokens: int,
    operations: float,
    peak_tflops: float | None,
) -> dict[str, float]:
    """For each variant its tokens and 10^12 operations of the backbone per second, and what else is known.

    That is the share of what the device could do, and in GiB the `memory`, which is in bytes.
    """
    report = {}
    for name in ("backbone", "lora52", "adapter"):
        tflops = operations / seconds[name] / 1e12
        report[f"{name}_tokens_per_second"] = tokens / seconds[name]
        report[f"{name}_tflops"] = tflops
        if peak_tflops is not None:
            report[f"{name}_utilisation"] = tflops / peak_tflops
        if name in memory:
            report[f"{name}_memory_gib"] = memory[name] / 2**30
    return report


def peak_bytes(variants: Mapping[str, Any], works: Mapping[str, Work], where: torch.device) -> dict[str, int]:
    """The most bytes on a GPU in each variant's work, without the weights that are the others' alone."""
    if where.type != "cuda":
        return {}
    most = {}
    for name in variants:
        torch.cuda.reset_peak_memory_stats()
        works[name]()
        others = sum(own_bytes(model) for other, model in variants.items() if other != name)
        most[name] = torch.cuda.max_memory_allocated() - others
    return most
