"""The load test checks what it says; its timings are not asserted, the machine is shared."""

from pathlib import Path

import pytest

from ucuie.lab.bench.options import ServeOptions
from ucuie.lab.bench.serve import bench_serve


@pytest.mark.slow
def test_the_load_has_no_wrong_answer_and_the_overflow_is_refused(adapted_folder: Path) -> None:
    report = bench_serve(ServeOptions(num_clients=8, seconds=3, model=str(adapted_folder)))
    assert set(report["statuses"]) == {"200"}
    assert report["num_wrong"] == 0
    assert set(report["overflow_statuses"]) == {"200", "429"}
    assert sum(report["overflow_statuses"].values()) == 400
    assert report["texts_per_second"] > 0
    assert report["in_process_texts_per_second"] > 0
