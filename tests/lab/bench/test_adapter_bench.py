"""The adapter bench measures what it says; its timings are not asserted, the machine is shared."""

import pytest

from ucuie.lab.bench import adapter
from ucuie.lab.bench.options import AdapterOptions

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def test_bench_reports_every_variant_and_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "DECODE_TOKENS", 2)
    options = AdapterOptions(hidden=64, layers=1, batch=2, length=16, repeats=1)
    report = adapter.bench_adapter(options)
    assert report["trainable_parameters_llama2_7b"] == 84_616_608
    assert report["settings"]["hidden"] == 64
    assert report["settings"]["num_threads"] == 1
    for work in ("forward_backward", "decode"):
        medians = report["seconds"][work]
        assert set(medians) == {"backbone", "lora4", "lora52", "fused", "loop"}
        assert all(seconds > 0 for seconds in medians.values())
    train = report["seconds"]["forward_backward"]
    assert report["fused_over_lora52"] == train["fused"] / train["lora52"]
    assert report["fused_over_backbone"] == train["fused"] / train["backbone"]
    assert report["loop_over_fused"] == train["loop"] / train["fused"]
    decode = report["seconds"]["decode"]
    assert report["decode_fused_over_backbone"] == decode["fused"] / decode["backbone"]
