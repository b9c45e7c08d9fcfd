"""`ucuie batch` as it is: processes, actors of Ray, kills, and what it refuses."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from batch_cases import content, output_rows, write_lines
from typer.testing import CliRunner

from ucuie.cli import app

NUM_ROWS = 240
NUM_KILLS = 2


@pytest.fixture(scope="module")
def model(adapted_folder: Path) -> str:
    return str(adapted_folder)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(
        tmp_path_factory.mktemp("texts") / "in.jsonl", [f"Ada {number} ran." for number in range(NUM_ROWS)]
    )


def command(texts: Path | str, output: Path, model: str, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "ucuie", "batch", str(texts), str(output), "--schema", '["person"]'),
        *("--model", model, "--batch-size", "4", "--shard-rows", "40", "--max-new-tokens", "2", *options),
    ]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=300)


def run_and_kill(arguments: list[str], output: Path, num_shards: int, kill: Callable[[int], None]) -> int:
    """Starts the command, and does something to it once so many shards are there."""
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 200
        while len(list(output.glob("part-*"))) < num_shards:
            assert process.poll() is None, "it ended too soon to be killed"
            assert time.monotonic() < deadline, "it did not get so far"
            time.sleep(0.01)
        kill(process.pid)
        return process.wait(200)


def kill_one_worker(name: str) -> Callable[[int], None]:
    def kill(pid: int) -> None:
        for child in psutil.Process(pid).children(recursive=True):
            if name in " ".join(child.cmdline()):
                child.kill()
                return
        raise AssertionError(f"there is no worker {name}")

    return kill


@pytest.fixture(scope="module")
def whole(texts: Path, model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run gives that nothing happens to."""
    output = tmp_path_factory.mktemp("whole") / "out"
    result = CliRunner().invoke(app, command(texts, output, model)[3:])
    assert result.exit_code == 0, result.output
    assert f"{NUM_ROWS} texts" in result.stderr
    return output


@pytest.mark.long
def test_killed_and_started_again_it_gives_the_same(
    texts: Path, model: str, whole: Path, tmp_path: Path
) -> None:
    chance = random.Random(4)
    output = tmp_path / "out"
    for number in range(1, NUM_KILLS + 1):

        def kill(pid: int) -> None:
            time.sleep(chance.uniform(0, 0.1))
            os.kill(pid, signal.SIGKILL)

        assert run_and_kill(command(texts, output, model), output, number, kill) == -signal.SIGKILL
    assert CliRunner().invoke(app, command(texts, output, model)[3:]).exit_code == 0
    assert content(output) == content(whole)
    assert len(output_rows(output)) == NUM_ROWS


@pytest.mark.long
def test_a_lost_process_loses_nothing(texts: Path, model: str, whole: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    arguments = command(texts, output, model, "--workers", "2")
    assert run_and_kill(arguments, output, 2, kill_one_worker("spawn_main")) == 0
    assert content(output) == content(whole)


@pytest.mark.long
def test_on_ray_with_an_actor_lost_the_content_is_the_same(
    texts: Path, model: str, whole: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    output = tmp_path / "out"
    arguments = command(texts, output, model, "--workers", "2", "--engine", "ray")
    assert run_and_kill(arguments, output, 2, kill_one_worker("MapWorker")) == 0
    assert content(output) == content(whole)


@pytest.mark.long
def test_what_cannot_work_is_refused_in_words(texts: Path, model: str, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    unreachable = run(*command(texts, tmp_path / "a", model, "--engine", "ray", "--address", "127.0.0.1:9"))
    assert unreachable.returncode == 1
    assert "there is no Ray cluster at '127.0.0.1:9'" in unreachable.stderr
    too_large = run(
        *command(texts, tmp_path / "b", model, "--schema", json.dumps(["very " * 300 + "long name"]))
    )
    assert too_large.returncode == 2
    assert "the model's context" in too_large.stderr
    for result in (unreachable, too_large):
        assert "Traceback" not in result.stderr


def test_mistakes_are_told_before_any_work(texts: Path, model: str, tmp_path: Path) -> None:
    none = run(*command(tmp_path / "none.jsonl", tmp_path / "out", model))
    assert none.returncode == 2
    assert "No such file" in none.stderr
    address = run(*command(texts, tmp_path / "out", model, "--address", "auto"))
    assert address.returncode == 2
    assert "is for --engine ray" in address.stderr
    within = run(*command(texts.parent, texts.parent / "out", model))
    assert within.returncode == 2
    assert "lies in the input, which would grow by it" in within.stderr
    assert not (tmp_path / "out").exists()
