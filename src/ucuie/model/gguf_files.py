"""Backbones in one GGUF file, as llama.cpp and Ollama keep them, with their tokenizers.

A file is converted once, to a folder of the user's cache that holds the same model in fp32; everything else
reads that folder. Reading the file itself takes transformers 50 times as long, and what comes out can be
neither saved nor adapted as it is. The folder has 4 bytes for each parameter.
"""

import copy
import hashlib
import json
import os
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from ucuie.errors import ModelError, show
from ucuie.files import cache_folder, making, new_folder
from ucuie.model.backbone import save_backbone, without_progress_bars
from ucuie.model.source import CONFIG_FILE, first_line

_FORMAT = "1"
"""Part of the folders' names; another one for every change of what is in them."""
_MAGIC = b"GGUF"
_OTHER = "name a file in another one, such as Q8_0, Q4_K_M or F16"


def converted(path: Path) -> Path:
    """The folder in the cache with the model and tokenizer of a GGUF file; made if it is not there.

    Raises:
        ModelError: the file is damaged, or holds what transformers does not read.
        StorageError: the cache cannot be written.
    """
    status = path.stat()
    state = f"{_FORMAT} {path.resolve()} {status.st_size} {status.st_mtime_ns}"
    key = hashlib.sha256(state.encode()).hexdigest()[:12]
    folder = cache_folder() / "converted" / f"{path.stem}-{key}"
    if (folder / CONFIG_FILE).is_file():
        return folder
    with making(folder):
        # Another process may have been at it.
        if not (folder / CONFIG_FILE).is_file():
            with new_folder(folder) as staging:
                _convert(path, staging)
    return folder


def read_gguf_shape(path: Path) -> PreTrainedConfig:
    """The configuration of the model in a GGUF file, read from its head.

    Raises:
        ModelError: the file is damaged, or of an architecture that transformers does not read.
    """
    try:
        return AutoConfig.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
    except Exception as error:  # of any class, as below
        raise ModelError(f"{show(str(path))} {_fault(path, error)}") from error


def _convert(path: Path, folder: Path) -> None:
    try:
        # The bar of the dequantisation asks nobody.
        with without_progress_bars(), redirect_stderr(StringIO()):
            tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
            model, loading = AutoModelForCausalLM.from_pretrained(
                path.parent,
                gguf_file=path.name,
                dtype=torch.float32,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # of any class: it depends on what is wrong where
        raise ModelError(f"{show(str(path))} {_fault(path, error)}") from error
    # transformers would go on with random weights.
    if missing := sorted(loading["missing_keys"]):
        raise ModelError(
            f"{show(str(path))} lacks tensors of its model, such as {missing[0]}; copy or download it again"
        )
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
    """What is wrong with a file, and what to do about it."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return "is no GGUF file, whatever its name says; name another one"
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        architecture = str(reader.fields["general.architecture"].contents())
    except Exception as unreadable:  # of any class: whatever comes first in a file that is wrong
        if "GGMLQuantizationType" in str(unreadable):
            return f"has tensors of a kind that gguf does not know ({first_line(unreadable)}); {_OTHER}"
        return f"is cut short or damaged ({path.stat().st_size:,} bytes); copy or download it again"
    if isinstance(error, ValueError) and architecture in str(error) and "supported" in str(error):
        return (
            f"holds a model of the architecture {show(architecture)}, which transformers does not read from "
            "GGUF files; name a file of another one, such as llama, qwen3 or gemma3"
        )
    if "tokenizer.ggml.tokens" not in reader.fields:
        return "has no tokenizer in it; name a file with one, as llama.cpp and Ollama write it"
    if isinstance(error, NotImplementedError):
        return f"has tensors in a quantisation that gguf does not read ({first_line(error)}); {_OTHER}"
    return f"cannot be read: {type(error).__name__}: {first_line(error)}"
