"""The files under examples/ are right, and do what they promise."""

from collections import Counter
from pathlib import Path

import pytest

from ucuie.data import normalised_text, read_examples
from ucuie.language.linearize import order_records
from ucuie.metrics import placing_ceiling, score
from ucuie.model.folder import EMBEDDED
from ucuie.schema import TASKS, Example

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "examples" / "sample"
MAIN_ROWS = {"NER": "NER", "RE": "RE boundary", "EE": "ED", "ABSA": "ABSA"}


@pytest.fixture(scope="module")
def sample() -> list[Example]:
    return list(read_examples(SAMPLE))


def test_the_sample_has_every_task_in_both_splits(sample: list[Example]) -> None:
    counts = Counter((example.split, example.task) for example in sample)
    assert all(counts["train", task] >= 10 for task in TASKS)
    assert all(counts["validation", task] >= 3 for task in TASKS)


def test_every_task_has_texts_in_which_there_is_nothing(sample: list[Example]) -> None:
    assert {example.task for example in sample if not example.records} == set(TASKS)


def test_sample_ids_name_their_split_and_line(sample: list[Example]) -> None:
    for split in ("train", "validation"):
        ids = [example.id for example in read_examples(SAMPLE / f"{split}.jsonl")]
        assert ids == [f"sample/{split}/{number}" for number in range(1, len(ids) + 1)]


def test_no_text_stands_in_the_sample_twice(sample: list[Example]) -> None:
    assert max(Counter(normalised_text(example.text) for example in sample).values()) == 1


def test_sample_records_stand_in_the_order_of_the_output(sample: list[Example]) -> None:
    for example in sample:
        assert example.records == order_records(example.records, example.schema), example.id


def test_offsets_of_the_sample_can_be_found_again_from_strings(sample: list[Example]) -> None:
    ceiling = placing_ceiling(sample)
    assert {row: ceiling.micro(row).f1 for row in MAIN_ROWS.values()} == dict.fromkeys(
        MAIN_ROWS.values(), 100
    )


@pytest.mark.long
@pytest.mark.usefixtures("needs_embedded_model")
def test_the_tiny_training_learns_the_sample_by_heart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ucuie.extract.extractor import Extractor, Query
    from ucuie.train.config import TrainConfig
    from ucuie.train.run import run_training

    monkeypatch.chdir(ROOT)
    config = TrainConfig.load("examples/train_tiny.yaml", overrides=[f"output={tmp_path / 'model'}"])
    assert config.backbone == EMBEDDED
    assert config.warming.enabled
    extractor = Extractor.from_pretrained(run_training(config))
    examples = list(read_examples(SAMPLE / "train.jsonl"))
    found = [extraction.records for extraction in extractor.answer(map(Query.of_example, examples))]
    report = score(examples, found)
    f1 = {task: report.micro(row, task=task).f1 for task, row in MAIN_ROWS.items()}
    assert min(f1.values()) >= 90, f1
