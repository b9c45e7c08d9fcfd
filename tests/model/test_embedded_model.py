"""The model in the package: it is there, whole, and its answers are well-formed on real test sentences."""

import os
from itertools import islice
from pathlib import Path

import pytest

from ucuie.cli.demo import TEXTS
from ucuie.data import convert, dataset_named, read_examples
from ucuie.extract.extractor import Extractor, Query
from ucuie.language.align import TOO_OFTEN
from ucuie.metrics import score
from ucuie.model.folder import embedded_model
from ucuie.schema import Example

CORPORA = Path(os.environ.get("UCUIE_DATA", Path(__file__).parents[3] / "shared" / "data"))
DATASETS = {
    "bc5cdr": "ner",
    "broad_twitter_corpus": "ner",
    "conll04": "re",
    "phee": "ee",
    "acos_laptop": "absa",
}
SENTENCES_PER_DATASET = 100


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor.from_pretrained()


def test_it_is_small_enough_for_a_repository() -> None:
    size = sum(path.stat().st_size for path in embedded_model().rglob("*") if path.is_file())
    assert size < 25e6


def test_it_finds_something_in_every_text_of_the_demo(extractor: Extractor) -> None:
    for text in TEXTS:
        result = extractor.extract(text.text, text.schema)
        assert result.records, text.id
        assert not result.truncated
        for record in result.records:
            assert record.score is not None
            for filler in record.fillers():
                assert text.text[filler.start : filler.end] == filler.text


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    if not CORPORA.is_dir():
        pytest.skip(f"the corpora are not at {CORPORA}; set UCUIE_DATA to where they are")
    examples: list[Example] = []
    for name, task in DATASETS.items():
        folder = tmp_path_factory.mktemp(name)
        convert(dataset_named(name).name, CORPORA / task / name / "raw", folder)
        examples += islice(read_examples(folder, split="test"), SENTENCES_PER_DATASET)
    return examples


@pytest.mark.long
def test_answers_on_500_test_sentences_are_well_formed_and_grounded(
    extractor: Extractor, sentences: list[Example]
) -> None:
    assert len(sentences) == len(DATASETS) * SENTENCES_PER_DATASET
    answers = list(extractor.answer(map(Query.of_example, sentences)))
    for example, answer in zip(sentences, answers, strict=True):
        assert answer.id == example.id
        for record in answer.records:
            slots = example.schema[record.frame].slot_names
            assert all(filled.slot in slots for filled in record.slots)
            for filler in record.fillers():
                assert example.text[filler.start : filler.end] == filler.text
        # A string said more often than it stands in the text has no place; nothing else may be left out.
        if not answer.truncated:
            assert {item.reason for item in answer.dropped} <= {TOO_OFTEN}
    report = score(sentences, [answer.records for answer in answers])
    found = {row: report.micro(row).f1 for row in ("NER", "RE boundary", "ED", "EAE linked", "ABSA")}
    assert min(found.values()) > 5, found
