"""The decoding benches measure what they say; their timings are not asserted, the machine is shared."""

import pytest

from ucuie.lab.bench import decode, extract
from ucuie.lab.bench.decode import bench_decode
from ucuie.lab.bench.documents import NUM_USED_TYPES, TYPES, make_documents, schema_of
from ucuie.lab.bench.extract import bench_extract
from ucuie.lab.bench.options import DecodeOptions, ExtractOptions

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def test_documents_are_the_same_every_time_and_their_records_are_in_them() -> None:
    documents = list(make_documents(20, words=40))
    assert documents == list(make_documents(20, words=40))
    assert len({text for text, _ in documents}) == 20
    for text, records in documents:
        assert 40 <= len(text.split()) < 70
        assert all(text[one.filler.start : one.filler.end] == one.filler.text for one in records)
    assert {one.frame for _, records in documents for one in records} == set(TYPES[:NUM_USED_TYPES])
    assert len(schema_of(50).frames) == 50


@pytest.mark.slow
def test_engine_and_generate_write_the_same() -> None:
    report = bench_decode(DecodeOptions(num_texts=3, words=12, num_types=5, batch_size=2, repeats=1))
    seconds = report["seconds"]
    assert report["engine_over_generate"] == seconds["generate"] / seconds["engine"]
    assert report["latency_generate_over_engine"] == (
        seconds["generate, one text"] / seconds["engine, one text"]
    )
    assert report["forwards"]["engine"] < report["forwards"]["generate"]
    assert report["work"]["tokens_written"] == round(3 * report["tokens"]["output"])
    assert report["settings"]["model"] == "ucuie-mini"


def test_a_contender_that_writes_something_else_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode._Plain, "write", lambda self, jobs: [()] * len(jobs))
    with pytest.raises(RuntimeError, match="generate did not write"):
        bench_decode(DecodeOptions(num_texts=2, words=6, num_types=5, repeats=1))


@pytest.mark.slow
def test_extraction_is_measured_end_to_end() -> None:
    report = bench_extract(ExtractOptions(num_texts=3, words=6, repeats=1, memory=False))
    by_types = report["milliseconds_per_text"]
    assert list(by_types) == [5, 10, 20, 50]
    assert report["time_50_types_over_5"] == by_types[50] / by_types[5]
    seconds = report["seconds"]
    assert report["texts_over_encoder"] == seconds["encoder"] / seconds["batch"]
    assert report["texts_per_second"] == 3 / seconds["batch"]
    assert "peak_memory_mb" not in report


@pytest.mark.slow
def test_memory_is_that_of_processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "DOCUMENT_LENGTHS", (100, 2000))
    report = bench_extract(ExtractOptions(num_texts=2, words=6, repeats=1))
    assert report["peak_memory_1m_over_10k"] == report["peak_memory_mb"][2000] / report["peak_memory_mb"][100]
    assert all(100 < peak < 5000 for peak in report["peak_memory_mb"].values())
