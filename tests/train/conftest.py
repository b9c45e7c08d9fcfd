"""The tiny backbone on disk, and a few examples of every task."""

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

import tiny_model
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
    return tiny_model.tokenizer()


@pytest.fixture(scope="session")
def backbone_folder(plain_folder: Path) -> Path:
    return plain_folder


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
