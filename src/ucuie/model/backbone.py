"""Backbones: causal language models with their tokenizers, as Hugging Face keeps them on disk.

Loads and saves them, and tells one from another by fingerprints. What is adapted or extracted with
them is not known here.
"""

import copy
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from peft import PeftModel
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from ucuie.errors import ConfigError, ModelError, needs, show
from ucuie.model.source import CONFIG_FILE, first_line

Weights = Literal["float32", "bfloat16", "8bit", "4bit"]
"""How the weights of a backbone are kept in memory; the last two need the extra `quantized`."""

_ADAPTER_PARAMETER = re.compile(r"\.(lora|hierarchical_moe)_")
_PROBE = "Ada O'Neil's naïve 2nd test (1815): {x: [y, z]}\n\tÜber 東京, Москва & 🙂 \\ e\u0301"


@dataclass(frozen=True)
class Backbone:
    """A causal language model with its tokenizer.

    `source` is what it was loaded by: "embedded", a path or a hub id. `fingerprint` is that of the stored
    weights where the loaded ones were rounded, else None.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    source: str
    fingerprint: str | None = None


def read_backbone(
    folder: Path, *, device: str | torch.device = "cpu", weights: Weights | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The model and tokenizer of a folder, without asking the network for anything.

    Args:
        folder: of the model.
        device: of the weights.
        weights: how they are kept. None: on a CPU they become fp32, since bf16 products are 400 times slower
            on CPUs that have none; elsewhere they stay as they are stored.

    Raises:
        ConfigError: the device cannot be used.
        MissingExtraError: quantised weights need bitsandbytes.
        ModelError: the folder holds no model, or its files cannot be read.
    """
    device = _usable_device(device)
    if not (folder / CONFIG_FILE).is_file():
        raise ModelError(f"{show(str(folder))} holds no model: there is no {CONFIG_FILE}")
    if weights in ("4bit", "8bit"):
        needs("bitsandbytes", "quantized")
    options = _weight_options(weights, device)
    try:
        with without_progress_bars():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, **options)
    except Exception as error:  # of any class: it depends on which file is damaged where
        raise ModelError(
            f"the model in {show(str(folder))} cannot be read: {first_line(error)}; copy or download it again"
        ) from error
    if "quantization_config" in options:
        return model.eval(), tokenizer
    return model.to(device).eval(), tokenizer


def _usable_device(named: str | torch.device) -> torch.device:
    try:
        device = torch.device(named)
        torch.zeros(1, device=device).cpu()  # not all that torch can name is here
    except (AssertionError, ImportError, RuntimeError) as error:  # of torch, by the kind of the device
        raise ConfigError(
            f"the device {show(str(named))} cannot be used: {first_line(error)}; cpu is always there, "
            "and left out, a GPU is taken if there is one"
        ) from None
    return device


def _weight_options(weights: Weights | None, device: torch.device) -> dict[str, Any]:
    """Arguments of `from_pretrained`; what is not quantised stays as exact as the device computes."""
    if weights in ("float32", "bfloat16"):
        return {"dtype": getattr(torch, weights)}
    is_cpu = device.type == "cpu"
    dtype = torch.float32 if is_cpu else "auto"
    if weights is None:
        return {"dtype": dtype}
    from transformers import BitsAndBytesConfig

    if weights == "8bit":
        quantization = BitsAndBytesConfig(load_in_8bit=True)
    else:
        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32 if is_cpu else torch.bfloat16,
        )
    return {"dtype": dtype, "quantization_config": quantization, "device_map": {"": device}}


def without_adapter(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The backbone of a model that may have an adapter; the same modules."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def with_same_weights(backbone: PreTrainedModel) -> PreTrainedModel:
    """A backbone of its own, to put an adapter into, with the tensors of another."""
    tensors = (*backbone.parameters(), *backbone.buffers())
    return copy.deepcopy(backbone, {id(tensor): tensor for tensor in tensors})


def save_backbone(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Writes a backbone, freed from its adapter if it has one, and its tokenizer.

    Args:
        model: the backbone, adapted or not; it is not changed.
        tokenizer: its tokenizer.
        folder: where to.
        dtype: of the matrices in the file; vectors cost nothing and stay exact, as the fingerprint needs.
    """
    backbone = without_adapter(model)
    stored: dict[int, Tensor] = {}
    state = {
        # Tied weights have to stay one tensor.
        name: stored.setdefault(tensor.data_ptr(), tensor.to(dtype) if tensor.dim() > 1 else tensor)
        for name, tensor in _backbone_tensors(backbone.state_dict()).items()
    }
    with without_progress_bars():
        backbone.save_pretrained(folder, state_dict=state)
    tokenizer.save_pretrained(folder)


def backbone_fingerprint(model: nn.Module) -> str:
    """SHA-256 of the names, shapes and vectors of a backbone's parameters, in hex.

    The vectors (norms, biases) tell two trainings of one architecture apart without reading gigabytes. Of
    an adapted model it is the fingerprint of the backbone alone.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(_backbone_tensors(dict(model.named_parameters())).items()):
        digest.update(f"{name} {tuple(parameter.shape)}\n".encode())
        if parameter.dim() == 1:
            digest.update(parameter.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def stored_fingerprint(folder: Path, model: nn.Module) -> str:
    """The fingerprint of the weights in a folder, of which `model` holds a rounded copy, in hex."""
    stored: dict[str, Tensor] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  it has no iterator
                shapes[name] = tuple(tensors.get_slice(name).get_shape())
                if len(shapes[name]) == 1:
                    stored[name] = tensors.get_tensor(name)
    digest = hashlib.sha256()
    for name, parameter in sorted(_backbone_tensors(dict(model.named_parameters())).items()):
        digest.update(f"{name} {shapes.get(name, tuple(parameter.shape))}\n".encode())
        if parameter.dim() == 1:
            digest.update(stored.get(name, parameter).detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def tokenizer_sha256(tokenizer: PreTrainedTokenizerFast) -> str:
    """SHA-256 of a tokenizer's vocabulary and of what it makes of a difficult text, in hex.

    Not of its file, which another version of the library may write differently.
    """
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    probe = tokenizer.encode(_PROBE, add_special_tokens=False)
    return hashlib.sha256(json.dumps([vocabulary, probe]).encode()).hexdigest()


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Silences transformers, whose bars for a moment's work would clutter stderr."""
    had_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if had_bars:
            transformers_logging.enable_progress_bar()


def _backbone_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that are the backbone's, under the names they have without an adapter."""
    return {
        name.removeprefix("base_model.model.").replace(".base_layer.", "."): tensor
        for name, tensor in tensors.items()
        if not _ADAPTER_PARAMETER.search(name)
    }
