"""The gates of our adapter on a model that writes, where it has one."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def tuner_of(model: "PreTrainedModel | PeftModel") -> Any:
    """Our adapter on the model, if it has one."""
    tuner: Any = getattr(model, "base_model", None)
    return tuner if hasattr(tuner, "compute_gates") else None


def capability_gates(
    model: "PreTrainedModel | PeftModel", instruction_ids: Tensor, capability_labels: tuple[float, ...] | None
) -> Tensor | None:
    """The gates (linears, 1, C) of an instruction (1, T); None for a model without our adapter."""
    tuner = tuner_of(model)
    if tuner is None:
        return None
    labels = None
    if capability_labels is not None:
        labels = torch.tensor([capability_labels], device=instruction_ids.device)
    mask = torch.ones_like(instruction_ids)
    gates: Tensor = tuner.compute_gates(instruction_ids, mask, mask.bool(), labels)
    return gates


def enabled_capabilities(model: "PreTrainedModel | PeftModel") -> tuple[bool, ...] | None:
    """Which capabilities are switched on; None where nothing was switched."""
    tuner = tuner_of(model)
    enabled: tuple[bool, ...] | None = None if tuner is None else tuner.state.enabled
    return enabled


def fixed_gates(model: "PreTrainedModel | PeftModel", gates: Tensor | None) -> AbstractContextManager[None]:
    """Forwards go by these gates while this is open; without any, as they would."""
    if gates is None:
        return nullcontext()
    context: AbstractContextManager[None] = model.base_model.fixed_gates(gates)
    return context
