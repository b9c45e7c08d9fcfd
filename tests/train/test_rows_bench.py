"""The bench of shared rows measures the same texts twice; its timings are not asserted."""

from pathlib import Path

import pytest

from ucuie.lab.bench.options import RowsOptions
from ucuie.lab.bench.rows import bench_rows
from ucuie.train.config import TrainConfig

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def test_the_same_texts_take_fewer_tokens_behind_one_instruction(
    backbone_folder: Path, data_folder: Path
) -> None:
    config = TrainConfig.model_validate(
        {
            "backbone": str(backbone_folder),
            "data": {"train": [data_folder]},
            "loss": {"objective": "grammar"},
            "augmentation": None,
            "batch_size": 2,
            "texts_per_row": 4,
        }
    )
    report = bench_rows(config, RowsOptions(config="given", steps=1, repeats=1))
    # Four texts each of NER, RE and EE make three rows, of which two are a step.
    assert report["settings"]["rows"] == 2
    assert report["settings"]["texts"] == 8
    assert report["shared_tokens"] < report["apart_tokens"]
    for name in ("shared", "apart"):
        assert report[f"{name}_texts_per_second"] == pytest.approx(8 / report["seconds"][name])
