"""A backbone of made-up weights: bare, with PEFT's LoRA, and with the adapter of as many ranks.

All of them lie on one copy of the weights, so that seven billion parameters fit on a GPU and the variants can
take turns.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, PreTrainedConfig

from ucuie.lab.bench.timing import Step
from ucuie.model.backbone import with_same_weights
from ucuie.train.run import adapted

TARGET_MODULES = ["gate_proj", "up_proj", "down_proj"]


def bench_device(named: str | None) -> torch.device:
    """The device of that name; without a name a GPU if there is one."""
    return torch.device(named or ("cuda" if torch.cuda.is_available() else "cpu"))


def made_up_backbone(shape: PreTrainedConfig, *, num_layers: int | None, device: torch.device) -> Any:
    """A frozen backbone of random weights: bf16 on a GPU, fp32 on a CPU.

    Args:
        shape: the backbone's configuration.
        num_layers: of it; None takes all that its shape has.
        device: where the weights are.
    """
    if num_layers is not None:
        shape = type(shape)(**shape.to_dict() | {"num_hidden_layers": num_layers, "layer_types": None})
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    with torch.device(device):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(shape, dtype=dtype).requires_grad_(False)


def backbone_settings(backbone: Any) -> dict[str, Any]:
    """What a report says of a backbone of made-up weights."""
    return {
        "dtype": str(backbone.dtype).removeprefix("torch."),
        "layers": backbone.config.num_hidden_layers,
        "hidden": backbone.config.hidden_size,
    }


def make_variants(backbone: Any, prepare: Callable[[Any], None] = lambda backbone: None) -> dict[str, Any]:
    """The variants by their names.

    Args:
        backbone: whose weights all of them have.
        prepare: called with each one's backbone before it is adapted.
    """
    bare, for_lora, for_adapter = (with_same_weights(backbone) for _ in range(3))
    for one in (bare, for_lora, for_adapter):
        prepare(one)
    lora = LoraConfig(r=52, lora_alpha=104, target_modules=TARGET_MODULES, task_type="CAUSAL_LM")
    return {
        "backbone": bare,
        "lora52": get_peft_model(for_lora, lora),
        "adapter": adapted(for_adapter, {"target_modules": TARGET_MODULES}),
    }


def own_bytes(model: Any) -> int:
    """Bytes of the weights that are a variant's alone."""
    return sum(parameter.nbytes for name, parameter in model.named_parameters() if _is_added(name))


def peak_bytes(variants: Mapping[str, Any], steps: Mapping[str, Step]) -> dict[str, int]:
    """The most bytes on the GPU in each variant's step, without the weights that are the others' alone."""
    most = {}
    for name in variants:
        torch.cuda.reset_peak_memory_stats()
        steps[name]()
        others = sum(own_bytes(model) for other, model in variants.items() if other != name)
        most[name] = torch.cuda.max_memory_allocated() - others
    return most


def _is_added(name: str) -> bool:
    return "lora_" in name or "hierarchical_moe_" in name
