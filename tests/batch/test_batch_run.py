"""Whatever is lost on the way, each row of the input is one row of the output, in its place."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import fsspec
import pytest
from batch_cases import COLUMNS, StandIn, batch, content, manifest_of, output_rows, write_lines
from hypothesis import given
from hypothesis import strategies as st

from small_disk import files_of_at_most
from ucuie.batch.output import OutputError, OutputFolder
from ucuie.batch.rows import Row
from ucuie.batch.run import EngineError
from ucuie.batch.sources import Source
from ucuie.batch.work import Lost, Slice, cut_shards
from ucuie.errors import ConfigError, DataError

NUM_KILLS = 20


def source_of(folder: Path, num_rows: int = 47) -> Source:
    return Source(str(write_lines(folder / "in.jsonl", [f"text {n}" for n in range(num_rows)])), COLUMNS)


def is_complete(folder: Path, num_rows: int) -> bool:
    return [row["row"] for row in output_rows(folder)] == list(range(1, num_rows + 1))


@given(sizes=st.lists(st.integers(0, 50)), shard_rows=st.integers(1, 7))
def test_shards_hold_every_row_once_and_no_more_than_they_may(sizes: list[int], shard_rows: int) -> None:
    rows = [(Row("a", number, b"x" * size), 10 * number) for number, size in enumerate(sizes)]
    shards = list(cut_shards(rows, shard_rows, 10 * len(rows)))
    assert [row for shard in shards for row in shard.rows] == [row for row, _ in rows]
    assert [shard.number for shard in shards] == list(range(len(shards)))
    assert all(1 <= len(shard.rows) <= shard_rows for shard in shards)
    assert sum(shard.num_bytes for shard in shards) == 10 * len(rows)
    slices = [one for shard in shards for one in shard.slices(2)]
    assert [row for one in slices for row in one.rows] == [row for row, _ in rows]


def test_shards_are_bounded_in_bytes_too() -> None:
    rows = [(Row("a", number, bytes(2**25)), number) for number in range(5)]
    assert [len(shard.rows) for shard in cut_shards(rows, 100, 5)] == [2, 2, 1]


def test_what_is_lost_is_asked_again_and_then_in_halves() -> None:
    rows = tuple(Row("a", number, b"") for number in range(5))
    (again,) = Slice(3, 10, rows).again()
    assert (again.rows, again.num_lost) == (rows, 1)
    left, right = again.again()
    assert (left.first, left.rows, right.first, right.rows) == (10, rows[:2], 12, rows[2:])


@given(seed=st.integers(0, 1_000), share=st.floats(0, 0.4))
def test_no_row_is_lost_or_doubled_with_workers_lost_at_random(
    tmp_path_factory: pytest.TempPathFactory, seed: int, share: float
) -> None:
    folder = tmp_path_factory.mktemp("run")
    source = source_of(folder)
    try:
        report = batch(source, folder / "out", StandIn(seed, lambda asked, chance: chance.random() < share))
    except EngineError:  # by a rare chance workers are lost so often that the run gives up, as it should
        report = batch(source, folder / "out")
    assert is_complete(folder / "out", 47)
    assert report.num_rows == 47
    assert report.num_rejected == sum(row["error"] is not None for row in output_rows(folder / "out"))


def test_a_text_that_no_worker_survives_is_set_aside_alone(tmp_path: Path) -> None:
    poison = {7, 23}

    def loses(asked: Slice, _: random.Random) -> bool:
        return any(row.number in poison for row in asked.rows)

    report = batch(source_of(tmp_path), tmp_path / "out", StandIn(loses=loses))
    assert is_complete(tmp_path / "out", 47)
    assert {row["row"] for row in output_rows(tmp_path / "out") if row["error"]} == poison
    assert report.num_rejected == 2
    (listed,) = (tmp_path / "out" / "rejected" / "part-00002.jsonl").read_text().splitlines()
    assert '"row": 23' in listed
    assert "ended by signal 9" in listed


def test_workers_that_survive_nothing_end_the_run(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    with pytest.raises(EngineError, match="lost whatever they are given, at last by signal 9"):
        batch(source, tmp_path / "out", StandIn(loses=lambda asked, chance: True))
    assert batch(source, tmp_path / "out").num_rows == 47


def test_what_is_finished_is_not_done_again(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    batch(source, tmp_path / "out")
    (tmp_path / "out" / "part-00003.jsonl").unlink()
    before = content(tmp_path / "out")
    report = batch(source, tmp_path / "out")
    assert (report.num_rows, report.num_kept) == (47, 37)
    assert [row for row in content(tmp_path / "out") if row in before] == before
    assert is_complete(tmp_path / "out", 47)

    def loses(asked: Slice, _: random.Random) -> bool:
        raise AssertionError("there is nothing to do")

    assert batch(source, tmp_path / "out", StandIn(loses=loses)).num_kept == 47


def test_a_run_that_differs_is_refused_with_what_differs(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    batch(source, tmp_path / "out")
    with pytest.raises(ConfigError) as caught:
        batch(source, tmp_path / "out", shard_rows=11, asked={"schema": ["city"]})
    assert "shard_rows: was 10, is 11" in str(caught.value)
    assert "schema: was ['person'], is ['city']" in str(caught.value)
    with pytest.raises(ConfigError, match="the input: was 1 file of"):
        batch(source_of(tmp_path, 48), tmp_path / "out")
    assert is_complete(tmp_path / "out", 47)


def test_folders_with_other_things_or_another_run_are_refused(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    with pytest.raises(ConfigError, match="holds other files already"):
        batch(source, tmp_path)
    with (
        OutputFolder(str(tmp_path / "out"), manifest_of(source)),
        pytest.raises(ConfigError, match="another run is writing"),
    ):
        batch(source, tmp_path / "out")
    (tmp_path / "out" / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match="not a manifest"):
        batch(source, tmp_path / "out")
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        batch(source, tmp_path / "in.jsonl" / "out")


def test_a_run_whose_input_changes_meanwhile_ends_with_an_error(tmp_path: Path) -> None:
    source = source_of(tmp_path)

    class Changes(StandIn):
        def answer(self, slices: Sequence[Slice]) -> Iterator[tuple[int, list[bytes] | Lost]]:
            source_of(tmp_path, 48)
            return super().answer(slices)

    with pytest.raises(DataError, match="files were changed, added or removed while it was read"):
        batch(source, tmp_path / "out", Changes())
    assert not (tmp_path / "out" / "report.json").exists()


def test_shards_go_to_other_file_systems_too(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    batch(source, "memory://shards/out")
    assert batch(source, "memory://shards/out").num_kept == 47
    fs = fsspec.filesystem("memory")
    assert sum(fs.cat_file(path).count(b"\n") for path in fs.glob("/shards/out/part-*.jsonl")) == 47


def test_parquet_shards_hold_records_as_structures(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    batch(source_of(tmp_path), tmp_path / "out", format="parquet")
    table = parquet.read_table(sorted((tmp_path / "out").glob("part-*.parquet")))
    assert table.column("row").to_pylist() == list(range(1, 48))
    assert str(table.schema.field("records").type).startswith(
        "list<element: struct<frame: string, filler: struct<"
    )


def test_a_full_disk_is_told_and_the_same_run_goes_on_when_there_is_room(tmp_path: Path) -> None:
    write_lines(tmp_path / "in.jsonl", ["x"] * 20 + ["x" * 4_000] * 10 + ["x"] * 17)
    source = Source(str(tmp_path / "in.jsonl"), COLUMNS)
    with files_of_at_most(30_000), pytest.raises(OutputError) as caught:
        batch(source, tmp_path / "out", StandIn(seed=3))
    assert os.strerror(errno.EFBIG) in str(caught.value)
    assert "the same command goes on from there" in str(caught.value)
    assert not list((tmp_path / "out").glob(".*part"))
    assert all(
        len(path.read_text().splitlines()) in (7, 10) for path in (tmp_path / "out").glob("part-*.jsonl")
    )
    assert batch(source, tmp_path / "out").num_rows == 47
    assert is_complete(tmp_path / "out", 47)


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from batch_cases import COLUMNS, StandIn, batch
from ucuie.batch.sources import Source
print("begins", flush=True)
batch(Source(sys.argv[2], COLUMNS), Path(sys.argv[3]), StandIn(seconds=0.005), shard_rows=5, slice_rows=2)
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_without_loss(tmp_path: Path) -> None:
    """The real runner and folder, in a process of their own, with a worker that only waits."""
    num_rows, chance = 4_000, random.Random(8)
    source = source_of(tmp_path, num_rows)
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(tmp_path / "in.jsonl")]
    num_seen = []
    for _ in range(NUM_KILLS):
        with subprocess.Popen(
            [*command, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begins\n"
            time.sleep(chance.uniform(0, 0.6))
            process.send_signal(signal.SIGKILL)
        rows = [row["row"] for row in output_rows(tmp_path / "out")] if (tmp_path / "out").exists() else []
        assert len(set(rows)) == len(rows), "a row is there twice"
        num_seen.append(len(rows))
    assert num_seen == sorted(num_seen), "what was finished is gone"
    assert 0 < num_seen[-1] < num_rows, "the kills came too early or too late to show anything"
    batch(source, tmp_path / "out", shard_rows=5, slice_rows=2)
    assert is_complete(tmp_path / "out", num_rows)
    batch(source, tmp_path / "whole", shard_rows=5, slice_rows=2)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
