from pathlib import Path

from data_cases import example

from ucuie.data import stats, write_examples


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
