"""The hierarchical mixture-of-experts adapter of UC-UIE (Section 3.4) as a PEFT method.

Importing this package registers it with PEFT: only then can `PeftModel.from_pretrained` and
`load_adapter` read its folders. Knows tensors only, nothing about information extraction.
"""

from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.utils import register_peft_method

from ucuie.adapter.config import CAPABILITIES, HierarchicalMoeConfig, register_peft_type
from ucuie.adapter.layer import HierarchicalMoeLinear
from ucuie.adapter.model import HierarchicalMoeModel
from ucuie.adapter.routing import MissingGatesError, TokenRouting

__all__ = [
    "CAPABILITIES",
    "HierarchicalMoeConfig",
    "HierarchicalMoeLinear",
    "HierarchicalMoeModel",
    "MissingGatesError",
    "TokenRouting",
    "register",
]


def register() -> None:
    """Make PEFT know the adapter; later calls change nothing."""
    peft_type = register_peft_type()
    if peft_type not in PEFT_TYPE_TO_TUNER_MAPPING:
        register_peft_method(
            name=peft_type.value.lower(),
            config_cls=HierarchicalMoeConfig,
            model_cls=HierarchicalMoeModel,
        )


register()
