import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from data_cases import example

from ucuie.data import stats, write_examples
from ucuie.errors import MissingExtraError
from ucuie.render.plots import statistics_plot


def test_statistics_are_those_counted_by_hand(tmp_path: Path) -> None:
    train = [
        example("Ann ran home", ("run", "ran home", {"agent": "Ann", "goal": "home"})),
        example("ann ran, home!", id="2"),
    ]
    write_examples(tmp_path / "train.jsonl", train)
    write_examples(tmp_path / "test.jsonl", [example("Ann ran home.", id="3", split="test")])
    found = stats(tmp_path)
    split = found.splits["train"]
    assert (split.examples, split.with_records, split.repeated_texts) == (2, 1, 1)
    assert split.records == {"run": 1}
    assert split.slots == {"run / agent": 1, "run / goal": 1}
    assert split.nested == 1  # "home" inside "ran home"
    assert (split.mean_length, split.max_length) == (13.0, 14)  # (12 + 14) / 2
    assert found.overlaps == {"test in train": 1}


def test_lengths_are_counted_in_doubling_steps(tmp_path: Path) -> None:
    lengths = [1, 31, 32, 63, 64, 300]
    examples = [example("x" * length, id=str(length)) for length in lengths]
    write_examples(tmp_path / "train.jsonl", examples)
    assert stats(tmp_path).splits["train"].lengths == (2, 2, 1, 0, 1)  # 0-31, 32-63, 64-127, -255, -511


def test_the_plot_is_one_valid_picture_with_every_label(tmp_path: Path) -> None:
    names = [f"<label {number}> in $ or $" for number in range(70)]
    records = [(name, "x", {}) for name in names]
    write_examples(tmp_path / "train.jsonl", [example("x y", *records)])
    write_examples(tmp_path / "test.jsonl", [example("x", *records[:1], id="2", split="test")])
    plot = statistics_plot(stats(tmp_path), title="A & B")
    texts = [node.text for node in ElementTree.fromstring(plot).iter() if node.text and node.text.strip()]
    assert {"A & B", "train: 1", "test: 1", "<label 0> in $ or $", "10 more labels", "0 to 31"} <= set(texts)
    assert plot == statistics_plot(stats(tmp_path), title="A & B")


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    write_examples(tmp_path / "train.jsonl", [example("x")])
    with pytest.raises(MissingExtraError, match=r"pip install 'ucuie\[experiments\]'"):
        statistics_plot(stats(tmp_path), title="A")
