"""A tiny random backbone on disk, with a tokenizer of its own, and a few examples of every task."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ucuie.data import write_examples
from ucuie.schema import Example, FilledSlot, Filler, Record, Schema

SENTENCES = [
    ("Ada Lovelace lives in London.", "Ada Lovelace", "London"),
    ("Alan Turing lives in Manchester.", "Alan Turing", "Manchester"),
    ("Grace Hopper lives in New York.", "Grace Hopper", "New York"),
    ("Emmy Noether lives in Erlangen.", "Emmy Noether", "Erlangen"),
]


def _filler(text: str, part: str) -> Filler:
    start = text.index(part)
    return Filler(text=part, start=start, end=start + len(part))


def make_examples() -> list[Example]:
    """A text as NER, as RE and as EE, four times."""
    entities = Schema.of(["person", "city", "drug"])
    relations = Schema.of({"live in": ["subject", "object"], "work for": ["subject", "object"]})
    events = Schema.of({"residence": ["resident", "place", "time"]})
    examples = []
    for number, (text, person, city) in enumerate(SENTENCES):
        who, where = _filler(text, person), _filler(text, city)
        pair = (FilledSlot(slot="subject", filler=who), FilledSlot(slot="object", filler=where))
        roles = (FilledSlot(slot="resident", filler=who), FilledSlot(slot="place", filler=where))
        examples += [
            Example(
                id=f"ner/{number}",
                task="NER",
                text=text,
                schema=entities,
                records=(Record(frame="person", filler=who), Record(frame="city", filler=where)),
            ),
            Example(
                id=f"re/{number}",
                task="RE",
                text=text,
                schema=relations,
                records=(Record(frame="live in", slots=pair),),
            ),
            Example(
                id=f"ee/{number}",
                task="EE",
                text=text,
                schema=events,
                records=(Record(frame="residence", filler=_filler(text, "lives"), slots=roles),),
            ),
        ]
    return examples


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    return make_examples()


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([text for text, *_ in SENTENCES] * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


@pytest.fixture(scope="session")
def backbone_folder(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    folder = tmp_path_factory.mktemp("backbone")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def data_folder(examples: list[Example], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    write_examples(folder / "train.jsonl", examples)
    return folder


@pytest.fixture(scope="session")
def watched_folder(examples: list[Example], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of six rows, and five to watch: the last step has fewer than processes or batches would take."""
    folder = tmp_path_factory.mktemp("watched")
    write_examples(folder / "train.jsonl", examples[:6])
    write_examples(folder / "validation.jsonl", examples[6:11])
    return folder
