import json
from dataclasses import replace
from pathlib import Path

import pytest
from data_cases import example

from ucuie.data import (
    read_examples,
    read_predictions,
    write_examples,
    write_low_resource,
    write_zero_shot_folds,
)
from ucuie.errors import ConfigError, DataError
from ucuie.schema import Schema


def test_a_low_resource_folder_has_a_part_of_the_training_split_alone(tmp_path: Path) -> None:
    write_examples(tmp_path / "train.jsonl", [example("x", id=str(number)) for number in range(30)])
    write_examples(tmp_path / "test.jsonl", [example("x", id="t", split="test")] * 3)
    assert write_low_resource(tmp_path, tmp_path / "part", percent=5, seed=0) == 2
    splits = [found.split for found in read_examples(tmp_path / "part")]
    assert splits == ["train"] * 2 + ["test"] * 3
    with pytest.raises(ConfigError, match="0 % of the examples"):
        write_low_resource(tmp_path, tmp_path / "part", percent=0, seed=0)


def test_a_zero_shot_set_becomes_a_folder_for_each_selection(tmp_path: Path) -> None:
    schemas = [Schema.of(["a"]), Schema.of(["b"]), Schema.of(["a"])]
    examples = [
        replace(example("x", id=str(number), split="test"), schema=schema)
        for number, schema in enumerate(schemas)
    ]
    write_examples(tmp_path / "test.jsonl", examples)
    assert write_zero_shot_folds(tmp_path, tmp_path / "folds") == [2, 1]
    assert [one.id for one in read_examples(tmp_path / "folds" / "seed-0")] == ["0", "2"]


def test_predictions_are_found_by_id_and_all_faults_are_named(tmp_path: Path) -> None:
    golds = [example("Ann ran", ("run", "ran", {}), id="1"), example("x", id="2")]
    records = [record.model_dump(mode="json") for record in golds[0].records]
    lines = [{"id": "2", "records": [], "seconds": 1}, {"id": "1", "records": records}]
    path = tmp_path / "predictions.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    assert read_predictions(path, golds) == [golds[0].records, ()]
    path.write_text('{"id": "1", "records": [{}]}\n[]\n{\n{"id": "2", "records": []}\n' * 2)
    with pytest.raises(DataError) as error:
        read_predictions(path, golds)
    assert len(error.value.faults) == 8
    assert error.value.faults[-1] == "no prediction for '1'"
