"""Names for what the fixtures of this folder give."""

from collections.abc import Callable

from peft import PeftModel
from torch import Tensor
from transformers import LlamaForCausalLM

Inputs = dict[str, Tensor]
MakeAdapted = Callable[..., PeftModel]
MakeBackbone = Callable[[], LlamaForCausalLM]
