"""Backbones: causal language models with their tokenizers, of a folder of Hugging Face's or one GGUF file.

Loads and saves them, and tells one from another by fingerprints. A GGUF file, as llama.cpp and Ollama keep
them, is converted once, to a folder of the user's cache that holds the same model in fp32, 4 bytes for each
parameter: reading the file itself takes transformers 50 times as long, and what comes out can be neither
saved nor adapted as it is.
"""

import copy
import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import torch
from peft import PeftModel
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from ucuie.errors import ConfigError, ModelError, needs, show
from ucuie.files import cache_folder, making, new_folder
from ucuie.model.info import ADAPTER_FILE
from ucuie.model.source import CONFIG_FILE, first_line, is_gguf

Weights = Literal["float32", "bfloat16", "8bit", "4bit"]
"""The forms of a backbone's weights in memory; the last two need the extra `quantized`."""

_AS_IT_IS = {"local_files_only": True, "trust_remote_code": False}
"""Of every `from_pretrained`: nothing is fetched, and no code of a model's runs, whatever its files say."""
_MOST_LAYERS = 1_000
"""The deepest models have some hundred; more are not believed, since building them takes minutes."""
_CONVERSION = "1"
"""Part of the folders' names; another one for every change of what is in them."""
_GGUF_MAGIC = b"GGUF"
_OTHER_FILE = "name a file in another one, such as Q8_0, Q4_K_M or F16"
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

    Where `weights` does not say how they are kept, they become fp32 on a CPU, since bf16 products are 400
    times slower on CPUs that have none; elsewhere they stay as they are stored.

    Raises:
        ConfigError: the device cannot be used.
        MissingExtraError: quantised weights need bitsandbytes.
        ModelError: the folder holds no model, or its files cannot be read.
    """
    device = _usable_device(device)
    if not (folder / CONFIG_FILE).is_file():
        raise ModelError(f"{show(str(folder))} holds no model: there is no {CONFIG_FILE}")
    # transformers would put it on, and ask the hub for weights that are not there.
    if (folder / ADAPTER_FILE).is_file():
        raise ModelError(
            f"{show(str(folder))} has an adapter of PEFT beside the model ({ADAPTER_FILE}); merge it into "
            "the model, or move its files away to use the model alone"
        )
    if weights in ("4bit", "8bit"):
        needs("bitsandbytes", "quantized")
    options = _weight_options(weights, device)
    try:
        _check_config(folder)
        with without_progress_bars():
            tokenizer = AutoTokenizer.from_pretrained(folder, **_AS_IT_IS)
            model, loading = AutoModelForCausalLM.from_pretrained(
                folder, output_loading_info=True, **_AS_IT_IS, **options
            )
    except Exception as error:  # of any class: it depends on which file is damaged where
        raise ModelError(f"the model in {show(str(folder))} cannot be read: {_words(error)}") from error
    _check_tensors(model, loading, folder)
    if "quantization_config" in options:
        return model.eval(), tokenizer
    return model.to(device).eval(), tokenizer


def _check_config(folder: Path) -> None:
    """Raise a ValueError for settings that transformers should not act on, wherever in a configuration."""

    def check(section: dict[str, Any]) -> None:
        for key, value in section.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{key} in {CONFIG_FILE} is {value}, which is no number to compute with")
            if isinstance(value, int) and "layer" in key and value > _MOST_LAYERS:
                raise ValueError(f"{key} in {CONFIG_FILE} is {value:,}; no model is that deep")
            # The name of a repository there is one of code to fetch and run.
            if isinstance(value, str) and "attn_implementation" in key and "/" in value:
                raise ValueError(f"{key} in {CONFIG_FILE} names custom code, {show(value)}")

    json.loads((folder / CONFIG_FILE).read_bytes(), object_hook=check)


def _check_tensors(model: PreTrainedModel, loading: Mapping[str, Any], place: Path) -> None:
    """Refuses a model that is in part not of its file, where transformers would go on with random weights."""
    faults = {
        "lacks tensors of its model": min(loading["missing_keys"], default=None),
        "has tensors that its model does not": min(loading["unexpected_keys"], default=None),
        "has numbers that are none, NaN or infinite": not_finite(model.state_dict()),
    }
    for fault, name in faults.items():
        if name is not None:
            raise ModelError(f"{show(str(place))} {fault}, such as {name}; copy or download it again")


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of a tensor with NaN or infinite numbers in it; None if there is none."""
    return next(
        (
            name
            for name, tensor in tensors.items()
            # What is kept in one byte each has no such numbers, or no minimum.
            if tensor.is_floating_point()
            and tensor.element_size() > 1
            and tensor.numel()
            and not all(math.isfinite(end) for end in tensor.aminmax())
        ),
        None,
    )


def _words(error: Exception) -> str:
    """What is wrong with a model, and what to do."""
    if "custom code" in str(error):
        return (
            "it asks for code of its own to be run, which ucuie never does; name a model of an architecture "
            "that transformers has"
        )
    return f"{first_line(error)}; copy or download it again"


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
    """Arguments of `from_pretrained`; numbers that are not quantised stay as exact as the device computes."""
    if weights in ("float32", "bfloat16"):
        return {"dtype": getattr(torch, weights)}
    is_cpu = device.type == "cpu"
    dtype = torch.float32 if is_cpu else "auto"
    if weights is None:
        return {"dtype": dtype}
    from transformers import BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_8bit=weights == "8bit",
        load_in_4bit=weights == "4bit",
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
    """Writes a backbone, freed from its adapter if it has one, and its tokenizer; it is not changed.

    The matrices in the file are in `dtype`; vectors cost nothing and stay exact, as the fingerprint needs.
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


def backbone_fingerprint(model: nn.Module, *, stored_in: Path | None = None) -> str:
    """SHA-256 of the names, shapes and vectors of a backbone's parameters, in hex.

    The vectors (norms, biases) tell two trainings of one architecture apart without reading gigabytes. Of
    an adapted model it is the fingerprint of the backbone alone; of a rounded copy of the weights in a folder
    it is that of the weights there.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    vectors: dict[str, Tensor] = {}
    for path in sorted(stored_in.glob("*.safetensors")) if stored_in else ():
        with safe_open(path, framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118  it has no iterator
                shapes[name] = tuple(stored.get_slice(name).get_shape())
                if len(shapes[name]) == 1:
                    vectors[name] = stored.get_tensor(name)
    digest = hashlib.sha256()
    for name, parameter in sorted(_backbone_tensors(dict(model.named_parameters())).items()):
        digest.update(f"{name} {shapes.get(name, tuple(parameter.shape))}\n".encode())
        if parameter.dim() == 1:
            digest.update(vectors.get(name, parameter).detach().float().cpu().numpy().tobytes())
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


def plain_folder(place: Path) -> Path:
    """The folder with a model and its tokenizer: of a GGUF file one in the cache, made if it is not there.

    Raises:
        ModelError: the file is damaged, or holds what transformers does not read.
        StorageError: the cache cannot be written.
    """
    if not is_gguf(place):
        return place
    status = place.stat()
    state = f"{_CONVERSION} {place.resolve()} {status.st_size} {status.st_mtime_ns}"
    key = hashlib.sha256(state.encode()).hexdigest()[:12]
    folder = cache_folder() / "converted" / f"{place.stem}-{key}"
    if not (folder / CONFIG_FILE).is_file():
        # Another process may have been at it.
        with making(folder):
            if not (folder / CONFIG_FILE).is_file():
                with new_folder(folder) as staging:
                    _convert(place, staging)
    return folder


def read_plain_shape(place: Path) -> PreTrainedConfig:
    """The configuration of the model in a folder or GGUF file.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    try:
        if is_gguf(place):
            return AutoConfig.from_pretrained(place.parent, gguf_file=place.name, **_AS_IT_IS)
        _check_config(place)
        return AutoConfig.from_pretrained(place, **_AS_IT_IS)
    except Exception as error:  # of any class: it depends on what is wrong where
        fault = _fault(place, error) if is_gguf(place) else f"holds no model: {_words(error)}"
        raise ModelError(f"{show(str(place))} {fault}") from error


def _convert(path: Path, folder: Path) -> None:
    try:
        # The bar of the dequantisation asks nobody.
        with without_progress_bars(), redirect_stderr(StringIO()):
            tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, **_AS_IT_IS)
            model, loading = AutoModelForCausalLM.from_pretrained(
                path.parent,
                gguf_file=path.name,
                dtype=torch.float32,
                output_loading_info=True,
                **_AS_IT_IS,
            )
    except Exception as error:  # of any class: it depends on what is wrong where
        raise ModelError(f"{show(str(path))} {_fault(path, error)}") from error
    _check_tensors(model, loading, path)
    save_backbone(_plain(model), _own_tokens(tokenizer, model), folder)
    for written in folder.iterdir():
        with written.open("rb") as file:
            os.fsync(file.fileno())


def _plain(model: PreTrainedModel) -> PreTrainedModel:
    """The same tensors in a model that does not say that it came from a GGUF file."""
    config = copy.deepcopy(model.config)
    del config.quantization_config
    with torch.device("meta"):
        plain = type(model)(config)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    return plain


def _own_tokens(tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel) -> PreTrainedTokenizerFast:
    """The tokenizer without tokens that the model has no row for.

    transformers adds <|endoftext|> to byte-level vocabularies that have none, such as that of Llama 3.
    """
    num_rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) <= num_rows:
        return tokenizer
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["id"] < num_rows]
    own = Tokenizer.from_str(json.dumps(state))
    special = {
        role: token
        for role, token in tokenizer.special_tokens_map.items()
        if isinstance(token, str) and own.token_to_id(token) is not None
    }
    return PreTrainedTokenizerFast(tokenizer_object=own, chat_template=tokenizer.chat_template, **special)


def _fault(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        if file.read(len(_GGUF_MAGIC)) != _GGUF_MAGIC:
            return "is no GGUF file, whatever its name says; name another one"
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        architecture = str(reader.fields["general.architecture"].contents())
    except Exception as unreadable:  # of any class: whatever comes first in a file that is wrong
        if "GGMLQuantizationType" in str(unreadable):
            return f"has tensors of a kind that gguf does not know ({first_line(unreadable)}); {_OTHER_FILE}"
        return f"is cut short or damaged ({path.stat().st_size:,} bytes); copy or download it again"
    if isinstance(error, ValueError) and architecture in str(error) and "supported" in str(error):
        return (
            f"holds a model of the architecture {show(architecture)}, which transformers does not read from "
            "GGUF files; name a file of another one, such as llama, qwen3 or gemma3"
        )
    if "tokenizer.ggml.tokens" not in reader.fields:
        return "has no tokenizer in it; name a file with one, as llama.cpp and Ollama write it"
    if isinstance(error, NotImplementedError):
        return f"has tensors in a quantisation that gguf does not read ({first_line(error)}); {_OTHER_FILE}"
    return f"cannot be read: {type(error).__name__}: {first_line(error)}"
