"""The tiny tokenizers and random models of a few thousand parameters that all tests use."""

import json
import string
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from ucuie.adapter import HierarchicalMoeConfig
from ucuie.extract.result import Extraction
from ucuie.language.pool import InstructionPool
from ucuie.model.folder import Backbone, LoadedModel, load_backbone
from ucuie.model.saving import save_model

CONTEXT = 512
CORPUS = [
    "Find all entities of these types: {person, city}\nText: Ada Lovelace lived in London.\n",
    "{(person: Ada Lovelace): [], (live in: Null): [(subject: Ada), (object: London)]}",
    string.printable,
]


def train_byte_level(*, add_prefix_space: bool = False) -> PreTrainedTokenizerFast:
    """Like Llama 3, Qwen and the embedded models."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=380,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


tokenizer = cache(train_byte_level)


def train_sentence_piece(*, by_metaspace: bool = False) -> PreTrainedTokenizerFast:
    """Like Llama 2, in either of its two conversions: a blank before every text, bytes as fallback."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if by_metaspace:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    backend.train_from_iterator([line.replace("\n", "") for line in CORPUS], trainer)
    state = json.loads(backend.to_str())
    state["added_tokens"] = state["added_tokens"][:3]  # the trainer takes byte tokens for special ones
    backend = Tokenizer.from_str(json.dumps(state))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(steps)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def make_backbone(
    seed: int = 1, kind: type[PreTrainedConfig] = LlamaConfig, **changes: Any
) -> PreTrainedModel:
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": len(tokenizer()),
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer().bos_token_id,
        "eos_token_id": tokenizer().eos_token_id,
        "pad_token_id": tokenizer().pad_token_id,
    }
    model = AutoModelForCausalLM.from_config(kind(**(sizes | changes)))
    for name, parameter in model.named_parameters():
        # Norms too: they tell two backbones apart. Wide weights give outputs that vary with the text.
        nn.init.normal_(parameter, mean=float("norm" in name), std=0.3)
    return model.eval()


def randomize(model: nn.Module, seed: int = 2) -> None:
    """Gives adapter parameters values that change the output, as if trained."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "hierarchical_moe_" in name:
            parameter.data.normal_(std=0.3, generator=generator)


def make_adapted(backbone: PreTrainedModel, **settings: object) -> PeftModel:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        model = get_peft_model(backbone, HierarchicalMoeConfig(**settings))
    randomize(model)
    return model.eval()


def tiny_model(*, is_adapted: bool = True, **settings: object) -> LoadedModel:
    """A model as it is in memory once it is loaded."""
    model = make_adapted(make_backbone(), **settings) if is_adapted else make_backbone()
    return LoadedModel(model, tokenizer(), InstructionPool.load(), None, "tiny")


def save_plain(folder: Path, seed: int = 1) -> Path:
    """A plain Hugging Face model."""
    make_backbone(seed).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def save_adapted(folder: Path, **settings: object) -> Path:
    """A model folder with its backbone in it."""
    backbone = Backbone(make_backbone(), tokenizer(), source="tiny")
    save_model(make_adapted(make_backbone(), **settings), backbone, folder, copy_as=torch.float32)
    return folder


def saved_backbone(folder: Path) -> Backbone:
    return load_backbone(save_plain(folder))


def answer_of(extraction: Extraction) -> dict[str, Any]:
    """What must not depend on how texts are batched; scores do, in their last digits."""
    no_score = {"filler": {"score"}}
    records = {"__all__": {**no_score, "score": True, "slots": {"__all__": no_score}}}
    return extraction.model_dump(exclude={"seconds": True, "records": records})
