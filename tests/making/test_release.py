"""The release program: a model folder in 8 bits that names its backbone, and no path of where it was made."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from making.release import learned_from, release, scores_of, training_record
from tiny_model import save_adapted
from ucuie.model.folder import load_model
from ucuie.model.info import ADAPTER_WEIGHTS_FILE

TABLE = [
    {"name": "ade", "title": "ADE", "licence": "none stated", "is_silver": False, "used": 1200, "rows": 1300},
    {"name": "silver", "title": "Silver", "licence": "CC-BY-SA-4.0", "is_silver": True, "used": 5, "rows": 7},
]


def test_every_set_is_told_with_licence_rows_and_who_labelled_it() -> None:
    assert learned_from(TABLE) == {
        "ADE (ade)": "none stated; 1,200 texts in 1,300 rows",
        "Silver (silver)": "CC-BY-SA-4.0; 5 texts in 7 rows; silver: labelled by a program",
    }


def test_scores_are_told_by_data_set_and_row() -> None:
    row = {"NER": {"precision": 50.0, "recall": 50.0, "f1": 50.04}}
    scores: dict[str, Any] = {"supervised": {"ade": {"scores": row}}, "zero-shot": {"mit": {"scores": row}}}
    assert scores_of(scores) == {
        "F1 % on test, trained on, scorer `offset`": {"ade, NER": 50.0},
        "F1 % on test, never trained on, scorer `offset`": {"mit, NER": 50.0},
    }


def test_a_release_is_small_and_names_no_path_of_where_it_was_made(tmp_path: Path) -> None:
    trained = save_adapted(tmp_path / "trained")
    path = trained / "ucuie.json"
    content = json.loads(path.read_text())
    content["training"] = {"config": {"output": "secret/place", "batch_size": 8}, "versions": {"torch": "2"}}
    path.write_text(json.dumps(content))
    loaded = load_model(trained)
    record = training_record(loaded, {"license": "apache-2.0"}, TABLE, 900)
    assert record["settings"] == {"batch_size": 8}
    assert record["rows learned from"] == "900, drawn from a mixture of 1,307"
    backbone = str(trained / "backbone")
    release(loaded, backbone, tmp_path / "released", record)
    assert "secret" not in "".join(one.read_text() for one in (tmp_path / "released").glob("*.[jm]*"))
    stored = load_file(tmp_path / "released" / ADAPTER_WEIGHTS_FILE)
    assert torch.int8 in {tensor.dtype for tensor in stored.values()}
    before, after = (
        dict(load_model(folder).model.named_parameters()) for folder in (trained, tmp_path / "released")
    )
    for name, parameter in before.items():
        torch.testing.assert_close(after[name], parameter, rtol=0, atol=float(parameter.abs().max()) / 127)
