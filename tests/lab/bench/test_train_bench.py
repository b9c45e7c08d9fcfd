"""The bench of training steps measures what it says; its timings are not asserted, the machine is shared."""

import pytest
from transformers import LlamaConfig

from ucuie.lab.bench.options import TrainOptions
from ucuie.lab.bench.train import bench_train

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_variant_is_measured_on_one_backbone(checkpointing: bool) -> None:
    shape = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4
    )
    options = TrainOptions(
        rows=2,
        row_tokens=16,
        layers=2,
        gradient_checkpointing=checkpointing,
        peak_tflops=2.0,
        repeats=2,
        device="cpu",
    )
    report = bench_train(shape, options)
    seconds = report["seconds"]
    assert set(seconds) == {"backbone", "lora52", "adapter"}
    assert report["adapter_over_lora52"] == seconds["adapter"] / seconds["lora52"]
    assert report["adapter_over_backbone"] == seconds["adapter"] / seconds["backbone"]
    # 2 layers of 4 * 32 * 32 + 3 * 32 * 48 weights and a quarter of 64 * 32; attention 6 * 2 * 32 * 16.
    operations = 32 * (4 * (2 * (4096 + 4608) + 512) + 6144)
    for name, median in seconds.items():
        assert report[f"{name}_tokens_per_second"] == pytest.approx(32 / median)
        assert report[f"{name}_tflops"] == pytest.approx(operations / median / 1e12)
        assert report[f"{name}_utilisation"] == pytest.approx(report[f"{name}_tflops"] / 2)
    assert report["settings"]["layers"] == 2
