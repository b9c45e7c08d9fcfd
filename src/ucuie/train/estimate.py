"""The memory that one step of a training run needs, found without the weights.

The step is carried out on fake tensors, which have shapes but no contents, and every storage is counted from
its making to its end. So the figures follow the code that trains, whatever backbone it is given; what they
leave out is what a device's libraries and allocator keep for themselves.
"""

import weakref
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from peft import PeftModel
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from ucuie.adapter import HierarchicalMoeModel
from ucuie.errors import ConfigError, show
from ucuie.model.backbone import without_adapter
from ucuie.model.folder import EMBEDDED, read_shape
from ucuie.model.known_backbones import known_backbones
from ucuie.model.source import is_gguf
from ucuie.train.config import TrainConfig, config_path
from ucuie.train.distributed import layers_of
from ucuie.train.packing import PACKED_ATTENTION, PackedLayout
from ucuie.train.run import adapted
from ucuie.train.trainer import divide_step

BYTES_PER_WEIGHT = {"8bit": 1.0, "4bit": 0.53}
"""Of a linear of a quantised backbone; 4 bits, and 4 % of the weights' number for their scales."""
LABELLED_SHARE = 0.25
"""The share of a row's tokens that is learned; the others are instruction and text."""


@cache
def recipe_shapes() -> dict[str, PreTrainedConfig]:
    """Shapes of the recipes' backbones by the names of the recipes, to reckon with without their files."""
    shapes = yaml.safe_load(Path(__file__).with_name("shapes.yaml").read_text("utf-8"))
    return {name: AutoConfig.for_model(**shape) for name, shape in shapes.items()}


def backbone_shape(source: str) -> PreTrainedConfig:
    """The shape of a backbone: of a folder or file, of a known one, else of the recipe that names it.

    Raises:
        ConfigError: it is none of these; a hub is not asked, since it would send the weights.
    """
    path = Path(source).expanduser()
    if source == EMBEDDED or path.is_dir() or is_gguf(path) or source in known_backbones():
        return read_shape(source)
    for name, shape in recipe_shapes().items():
        if TrainConfig.load(config_path(name), overrides=["data.train=[.]"]).backbone == source:
            return shape
    raise ConfigError(
        f"the shape of the backbone {show(source)} is not known here; name a folder with its "
        "config.json, or the backbone of a recipe"
    )


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one device at the fullest moment of a step.

    Args:
        num_trained: parameters that the optimiser moves.
        optimizer: bytes of AdamW's two moments.
        activations: bytes that forward and backward need beyond all that at their fullest.
        gathered: bytes of the weights that are whole at a time, where they are shared out; else 0.
    """

    num_parameters: int
    num_trained: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    gathered: int = 0

    @property
    def total(self) -> int:
        """Bytes of everything."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.gathered


def estimate_memory(
    config: TrainConfig, shape: PreTrainedConfig, *, row_tokens: int, num_processes: int = 1
) -> MemoryEstimate:
    """The memory of one device for a step of a run, whose processes share it, and perhaps the weights."""
    rows, _ = divide_step(config, num_processes)
    is_half = bool(config.trainer.get("bf16"))
    num_shares = num_processes if config.sharding == "full" else 1
    # Shared-out weights are rounded as they are gathered, others again in every product.
    gathered_as = torch.bfloat16 if is_half and num_shares > 1 else None
    with torch.device("meta"):
        model = _model(config, shape)
    parameters = list(model.parameters())
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = sum(parameter.nbytes for parameter in trained)
    weights = _weight_bytes(model, config.backbone_weights)
    with FakeTensorMode(), _LiveBytes() as live:
        _make_fake(model, dtype=gathered_as)
        inputs = packed_inputs(rows, row_tokens)
        before = live.peak = live.now
        with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
            loss = step_loss(model, inputs)
        torch.autograd.backward(loss)
    return MemoryEstimate(
        num_parameters=sum(parameter.numel() for parameter in parameters),
        num_trained=sum(parameter.numel() for parameter in trained),
        weights=round(weights / num_shares),
        gradients=gradients // num_shares,
        optimizer=2 * gradients // num_shares,
        # Gradients are counted as they are made; at the fullest moment, in the last layer, few are there.
        activations=live.peak - before,
        gathered=_gathered_bytes(model) if num_shares > 1 else 0,
    )


def _model(config: TrainConfig, shape: PreTrainedConfig) -> Any:
    dtype = torch.float32 if config.backbone_weights == "float32" else torch.bfloat16
    model: Any = AutoModelForCausalLM.from_config(shape, dtype=dtype)
    if config.method == "adapter":
        model = adapted(model, config.adapter)
    backbone: Any = without_adapter(model)
    backbone.set_attn_implementation(PACKED_ATTENTION)
    if config.gradient_checkpointing:
        enable = getattr(backbone, "activation_checkpointing_enable", backbone.gradient_checkpointing_enable)
        enable({"use_reentrant": False})
        backbone.enable_input_require_grads()
    return model.train()


def _make_fake(model: nn.Module, *, dtype: torch.dtype | None) -> None:
    """Put fake tensors on the CPU, of another dtype if wanted, in the place of those without a device."""
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            empty = torch.empty(parameter.shape, dtype=dtype or parameter.dtype)
            # Tied ones stay one.
            made.setdefault(id(parameter), nn.Parameter(empty, requires_grad=parameter.requires_grad))
            module._parameters[name] = made[id(parameter)]
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def packed_inputs(rows: int, row_tokens: int) -> dict[str, Any]:
    """A packed batch whose first half of every row is instruction."""
    num_shared = row_tokens // 2
    places = torch.arange(row_tokens).repeat(rows)
    return {
        "input_ids": places.unsqueeze(0),
        "position_ids": places.unsqueeze(0),
        "segment_ids": torch.arange(rows).repeat_interleave(row_tokens, output_size=rows * row_tokens)[None],
        "instruction_mask": (places < num_shared).unsqueeze(0),
        "layout": PackedLayout.of([(num_shared, [row_tokens - num_shared])] * rows),
        "capability_labels": torch.ones(rows, 3),
    }


def step_loss(model: Any, inputs: dict[str, Any]) -> Tensor:
    """All terms of L; the labelled positions are given, since fake tensors cannot say where something is."""
    is_adapted = isinstance(model, PeftModel) and isinstance(model.base_model, HierarchicalMoeModel)
    if not is_adapted:
        inputs = {name: inputs[name] for name in ("input_ids", "position_ids", "layout")}
    num_tokens = inputs["input_ids"].shape[1]
    positions = torch.arange(max(1, round(num_tokens * LABELLED_SHARE)))
    outputs = model(**inputs, use_cache=False, logits_to_keep=positions)
    loss = F.cross_entropy(outputs.logits[0].float(), inputs["input_ids"][0, : len(positions)])
    if not is_adapted:
        return loss
    auxiliary = model.base_model.auxiliary_losses()
    combined: Tensor = loss + auxiliary.bce + auxiliary.entropy
    return combined


def _weight_bytes(model: Any, weights: str) -> float:
    """Bytes of all parameters; quantisation takes the backbone's linears, but not its output embeddings."""
    if weights not in BYTES_PER_WEIGHT:
        return _bytes_of(model)
    output = model.get_output_embeddings()
    quantized = [
        module.weight
        for module in model.modules()
        if isinstance(module, nn.Linear) and module is not output and not module.weight.requires_grad
    ]
    return _bytes_of(model) + sum(
        weight.numel() * BYTES_PER_WEIGHT[weights] - weight.nbytes for weight in quantized
    )


def _gathered_bytes(model: Any) -> int:
    """Bytes outside of the layers, of the layer that computes and of the one that is fetched meanwhile."""
    layers = [_bytes_of(layer) for layer in layers_of(model)]
    return _bytes_of(model) - sum(layers) + 2 * max(layers)


def _bytes_of(module: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch types it in part
    """Counts the bytes of the storages made while it is open, and the most that lived at a time.

    Questions that a fake tensor cannot answer, such as whether all values are above 0, are answered with yes.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is torch.ops.aten._local_scalar_dense.default:
            return args[0].dtype.is_floating_point or args[0].dtype == torch.bool or 1
        output = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(output):
            storage = tensor.untyped_storage() if isinstance(tensor, Tensor) else None
            # Views of what was there before are no new storages.
            if storage is not None and storage not in self._known:
                self._known.add(storage)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._forget, storage.nbytes())
        return output

    def _forget(self, size: int) -> None:
        self.now -= size
