"""The real files, where they are: counts equal the catalogue's and every span stands in its text."""

from pathlib import Path

import pytest
from data_cases import raw_folder

from ucuie.data import catalogue, convert, read_examples
from ucuie.data.tokens import Spacing
from ucuie.metrics import Counts, score
from ucuie.schema import Split

pytestmark = pytest.mark.slow

SMALL = ["conll04", "14res", "16res", "phee", "crossner_ai", "wikievents", "fewrel_de"]
RECORDS: dict[str, dict[Split, int]] = {
    "bc5cdr": {"train": 9385, "validation": 9593, "test": 9809},
    "conll04": {"train": 1283, "validation": 343, "test": 422},
    "genia_ner": {"train": 43769, "validation": 4337, "test": 5474},
    "14res": {"train": 2337, "validation": 577, "test": 994},  # one triplet of train stands twice
    "phee": {"train": 3006, "validation": 1003, "test": 1010},
    "nyt": {"train": 7943, "test": 8076},  # 7985 and 8120, 42 and 44 of them not in the text
    "casie": {"train": 5234, "validation": 1115, "test": 2121},  # 5235, one trigger is not found
    "redocred": {"validation": 17276, "test": 17448},  # 17284, eight stand twice
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in SMALL else pytest.mark.long) for name in catalogue()]
)
def test_a_converted_set_has_the_expected_counts(name: str, tmp_path: Path) -> None:
    report = convert(name, raw_folder(name), tmp_path)
    assert report.is_as_expected
    assert sum(len(split.faults) for split in report.splits.values()) <= 1
    for split, expected in RECORDS.get(name, {}).items():
        assert sum(report.splits[split].records.values()) == expected
    examples = list(read_examples(tmp_path))
    assert len({example.id for example in examples}) == len(examples)


@pytest.mark.parametrize("name", SMALL[:2])
def test_converting_real_files_twice_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    folder = raw_folder(name)
    for output in ("one", "two"):
        convert(name, folder, tmp_path / output)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


@pytest.mark.parametrize(
    ("spacing", "gold", "f1"),
    # 950 of the 1,303 tweets are empty; 500 mentions, one of them repeated. Joined with blanks, five hold the
    # ";" of an "&amp;", where InstructUIE cuts them in two; naturally joined only "AT&amp;T Stadium" does.
    [("blank", 950 + 499 + 5, 68.9), ("natural", 950 + 499 + 1, 69.0)],
)
def test_always_saying_none_scores_as_published(
    spacing: Spacing, gold: int, f1: float, tmp_path: Path
) -> None:
    convert("harveyner", raw_folder("harveyner"), tmp_path, spacing=spacing)
    examples = list(read_examples(tmp_path, split="test"))
    nothing: list[tuple[()]] = [()] * len(examples)
    found = score(examples, nothing, scorer="instructuie").micro("NER")
    assert found == Counts(gold=gold, predicted=1303, matched=950)
    assert round(found.f1, 1) == f1
    assert score(examples, nothing).micro("NER").f1 == 0
