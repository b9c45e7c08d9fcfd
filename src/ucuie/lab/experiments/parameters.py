"""How many parameters an adapter trains, counted without allocating any, and ranks that give as many."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig

from ucuie.adapter import HierarchicalMoeConfig
from ucuie.train.run import adapted


def trainable_parameters(backbone: PretrainedConfig, adapter: dict[str, Any]) -> int:
    """Parameters that an adapter of these settings puts on a backbone."""
    with torch.device("meta"):
        model = adapted(AutoModelForCausalLM.from_config(backbone), adapter)
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def matching_ranks(backbone: PretrainedConfig, adapter: dict[str, Any]) -> dict[str, int]:
    """Ranks of a plain LoRA: `rank`, that of all experts together; `parameters`, the nearest in parameters.

    Args:
        backbone: its shape.
        adapter: settings of the hierarchical adapter to match.
    """
    one_rank = {**adapter, "use_capability_experts": False, "r": 1}
    total = trainable_parameters(backbone, adapter)
    return {
        "rank": HierarchicalMoeConfig(**adapter).layout().num_ranks,
        "parameters": round(total / trainable_parameters(backbone, one_rank)),
    }
