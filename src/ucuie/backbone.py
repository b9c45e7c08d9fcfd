"""Backbones: causal language models with their tokenizers, as Hugging Face keeps them on disk.

Loads and saves them, and tells one from another by fingerprints. What is adapted or extracted with
them is not known here.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from ucuie.errors import ModelError, show
from ucuie.model_source import CONFIG_FILE, first_line

_ADAPTER_PARAMETER = re.compile(r"\.(lora|hierarchical_moe)_")
_PROBE = "Ada O'Neil's naïve 2nd test (1815): {x: [y, z]}\n\tÜber 東京, Москва & 🙂 \\ e\u0301"


@dataclass(frozen=True)
class Backbone:
    """A causal language model with its tokenizer.

    `source` is what it was loaded by: "embedded", a path or a hub id.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    source: str


def read_backbone(
    folder: Path, *, device: str | torch.device = "cpu"
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The model and tokenizer of a folder, without asking the network for anything.

    On a CPU the weights become fp32: bf16 products are 400 times slower on CPUs that have none. Elsewhere
    they stay as they are stored.

    Raises:
        ModelError: the folder holds no model, or its files cannot be read.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise ModelError(f"{show(str(folder))} holds no model: there is no {CONFIG_FILE}")
    dtype = torch.float32 if torch.device(device).type == "cpu" else "auto"
    try:
        with without_progress_bars():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    except Exception as error:  # of any class: it depends on which file is damaged where
        raise ModelError(
            f"the model in {show(str(folder))} cannot be read: {first_line(error)}; copy or download it again"
        ) from error
    return model.to(device).eval(), tokenizer


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
    backbone = model.get_base_model() if isinstance(model, PeftModel) else model
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
