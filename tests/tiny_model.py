"""A random model of a few thousand parameters, for tests of everything around models."""

import string
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from ucuie.adapter import HierarchicalMoeConfig
from ucuie.extract.result import Extraction
from ucuie.model.folder import Backbone, load_backbone
from ucuie.model.saving import save_model

CONTEXT = 512
CORPUS = [
    "Find all entities of these types: {person, city}\nText: Ada Lovelace lived in London.\n",
    "{(person: Ada Lovelace): [], (live in: Null): [(subject: Ada), (object: London)]}",
    string.printable,
]


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
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


def make_backbone(seed: int = 1) -> PreTrainedModel:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer()),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer().bos_token_id,
        eos_token_id=tokenizer().eos_token_id,
        pad_token_id=tokenizer().pad_token_id,
    )
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        # Norms too: they tell two backbones apart. Wide weights give outputs that vary with the text.
        torch.nn.init.normal_(parameter, mean=float("norm" in name), std=0.3)
    return model.eval()


def make_adapted(backbone: PreTrainedModel, **settings: object) -> PeftModel:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        model = get_peft_model(backbone, HierarchicalMoeConfig(**settings))
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if "hierarchical_moe_" in name:
            parameter.data.normal_(std=0.3, generator=generator)
    return model.eval()


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
