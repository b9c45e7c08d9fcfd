"""`ucuie batch --endpoint`: the promises of every batch, kept by a server that may fail."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fake_endpoint import Answer, FakeServer, Obedient, Reply, completion, plain, refusal, serving, text_of
from ucuie.batch.endpoint import EndpointEngine
from ucuie.batch.question import Question
from ucuie.batch.rows import Columns
from ucuie.batch.sources import Source
from ucuie.batch.work import cut_shards
from ucuie.cli import main
from ucuie.errors import ConfigError
from ucuie.extract.document import Part
from ucuie.extract.remote import RemoteExtractor
from ucuie.extract.remote.client import EndpointError
from ucuie.extract.remote.extractor import WindowReader
from ucuie.schema import Schema

# Clients wait here for servers that are slow, busy or gone.
pytestmark = pytest.mark.slow

KEY = "sk-secret-5f2a"
ADA: Answer = plain(lambda _: completion('{"records": [{"frame": "person", "text": "Ada"}]}'))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("UCUIE_ENDPOINT_KEY", KEY)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def notes(folder: Path, texts: list[str]) -> Path:
    path = folder / "notes.jsonl"
    lines = [json.dumps({"id": f"n{number}", "text": text}) for number, text in enumerate(texts)]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def command(source: Path, output: Path, server: FakeServer | str, *options: str) -> list[str]:
    url = server if isinstance(server, str) else server.url
    given = ["--schema", '["person"]', "--endpoint", url, "--endpoint-model", "m", "--shard-rows", "10"]
    return ["batch", str(source), str(output), *given, *options]


def run(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["ucuie", *arguments])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def rows(output: Path) -> list[dict[str, Any]]:
    parts = sorted(output.glob("part-*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text(encoding="utf-8").splitlines()]


def assert_whole(output: Path, num_rows: int) -> None:
    assert [row["id"] for row in rows(output)] == [f"n{number}" for number in range(num_rows)]


def without_seconds(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: line[name] for name in ("id", "text", "records", "dropped")} for line in lines]


def test_the_content_is_that_of_extract_and_the_order_that_of_the_input(tmp_path: Path) -> None:
    texts = [f"Ada number {number} met Bob." * (1 + number % 3) for number in range(45)]
    source, output, extracted = notes(tmp_path, texts), tmp_path / "out", tmp_path / "found.jsonl"

    def slowly(body: dict[str, Any]) -> Reply:
        time.sleep(random.random() / 50)
        return ADA(body)

    with serving(slowly) as fake:
        assert run(*command(source, output, fake, "--concurrency", "5")) == 0
        assert 2 <= fake.most_open <= 5
        given = ("--schema", '["person"]', "--endpoint", fake.url, "--endpoint-model", "m")
        assert run("extract", *given, "--input", str(source), "--output", str(extracted)) == 0
        assert any(header.get("Authorization") == f"Bearer {KEY}" for header in fake.headers)
    assert_whole(output, 45)
    expected = [json.loads(line) for line in extracted.read_text(encoding="utf-8").splitlines()]
    assert without_seconds(rows(output)) == without_seconds(expected)
    report = json.loads((output / "report.json").read_text())
    assert (report["num_rows"], report["num_rejected"], report["num_shards"]) == (45, 0, 5)
    assert not any(KEY in path.read_text() for path in output.rglob("*") if path.is_file())


def test_random_answers_within_a_grammar_are_rows_whose_fillers_stand_in_their_texts(tmp_path: Path) -> None:
    texts = [f"Ada {number} met Bob in Rome." for number in range(12)]
    source, output = notes(tmp_path, texts), tmp_path / "out"
    with serving(Obedient("structured_outputs")) as fake:
        assert run(*command(source, output, fake)) == 0
    assert_whole(output, 12)
    found = [record for row in rows(output) for record in row["records"]]
    assert found
    assert {row["model"] for row in rows(output)} == {"m (grammar)"}
    for row in rows(output):
        for record in row["records"]:
            filler = record["filler"]
            assert row["text"][filler["start"] : filler["end"]] == filler["text"]


def test_a_text_without_an_answer_costs_no_other_and_unreadable_rows_are_told(tmp_path: Path) -> None:
    texts = ["Ada."] * 20
    texts[7], texts[13] = "poison", "x" * 5000
    source, output = notes(tmp_path, texts), tmp_path / "out"
    with source.open("ab") as file:
        file.write(b'{"id": "broken"\n{"id": "latin", "text": "\xe9"}\n')

    def answer(body: dict[str, Any]) -> Reply:
        return refusal(400, "I cannot") if text_of(body) == "poison" else ADA(body)

    with serving(plain(answer)) as fake:
        assert run(*command(source, output, fake, "--max-characters", "4000")) == 0
        assert not any("xxx" in json.dumps(body) for body in fake.bodies)
    lines = rows(output)
    assert len(lines) == 22
    errors = {index: line["error"] for index, line in enumerate(lines) if line["error"]}
    assert sorted(errors) == [7, 13, 20, 21]
    assert "the endpoint gave no answer" in errors[7]
    assert "I cannot" in errors[7]
    assert "4,000" in errors[13]
    assert "UTF-8" in errors[21]
    rejected = [path.read_text() for path in (output / "rejected").iterdir()]
    assert "".join(rejected).count("\n") == 4


def test_any_number_of_texts_in_a_row_without_an_answer_is_gone_past(tmp_path: Path) -> None:
    texts = ["poison"] * 35 + ["Ada."] * 5
    source, output = notes(tmp_path, texts), tmp_path / "out"

    def answer(body: dict[str, Any]) -> Reply:
        return refusal(400, "I cannot") if text_of(body) == "poison" else ADA(body)

    with serving(plain(answer)) as fake:
        assert run(*command(source, output, fake)) == 0
    assert_whole(output, 40)
    assert [bool(row["error"]) for row in rows(output)] == [True] * 35 + [False] * 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (refusal(401, "key expired"), "key expired"),
        (refusal(402, "insufficient balance"), "insufficient balance"),
        (refusal(404, "no such model"), "no such model"),
        (refusal(429, "quota is used up", **{"retry-after": "30"}), "quota is used up"),
        (refusal(503, "starting up"), "starting up"),
        ((200, b"<html>log in</html>"), "log in"),
        ((0, b""), "Server disconnected"),
    ],
)
def test_a_server_that_fails_ends_the_run_with_no_error_in_a_row_and_the_same_command_goes_on(
    failure: Reply,
    said: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ucuie.extract.remote.client.MAX_WAIT_SECONDS", 0.001)
    source, output = notes(tmp_path, [f"Ada {number}." for number in range(40)]), tmp_path / "out"
    has_failed = threading.Event()

    def fails(body: dict[str, Any]) -> Reply:
        # The last texts of a shard: it must not be finished with errors.
        if "Ada 28." in (text_of(body) or ""):
            has_failed.set()
        return failure if has_failed.is_set() else ADA(body)

    with serving(plain(fails)) as fake:
        arguments = command(source, output, fake, "--concurrency", "1")
        assert run(*arguments) == 2
        told = capfd.readouterr().err
        assert said in told
        assert "goes on from there" in told
        before = {path.name: path.read_bytes() for path in output.glob("part-*")}
        assert sorted(before) == ["part-00000.jsonl", "part-00001.jsonl"]
        assert not (output / "rejected").exists()
        fake.answer, num_asked = ADA, len(fake.bodies)
        assert run(*arguments) == 0
        asked = [text_of(body) for body in fake.bodies[num_asked:]]
        assert "Ada 19." not in asked
        assert "Ada 20." in asked
    assert_whole(output, 40)
    assert not any(row["error"] for row in rows(output))
    assert {name: (output / name).read_bytes() for name in before} == before


def test_a_busy_server_is_asked_again_when_it_says_so(tmp_path: Path) -> None:
    source, output = notes(tmp_path, ["Ada."] * 12), tmp_path / "out"
    chance, lock, refused = random.Random(0), threading.Lock(), []

    def busy(body: dict[str, Any]) -> Reply:
        with lock:
            is_busy = chance.random() < 0.3
        if text_of(body) is not None and is_busy:
            refused.append(1)
            return refusal(429, "slow down", **{"retry-after": "0.01"})
        return ADA(body)

    with serving(busy) as fake:
        assert run(*command(source, output, fake)) == 0
    assert refused
    assert_whole(output, 12)
    assert not any(row["error"] for row in rows(output))


def test_another_model_schema_or_endpoint_is_another_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, output = notes(tmp_path, ["Ada."] * 3), tmp_path / "out"
    with serving(ADA) as fake:
        arguments = command(source, output, fake)
        assert run(*arguments) == 0
        before = {path: path.read_bytes() for path in output.rglob("*.jsonl")}
        for change, difference in (
            (["--endpoint-model", "other"], "endpoint_model: was 'm', is 'other'"),
            (["--schema", '["city"]'], "schema: was"),
            (["--constraint", "none"], "constraint: was 'auto', is 'none'"),
            (["--window-characters", "500"], "window_characters: was 2000, is 500"),
            (["--max-new-tokens", "50"], "max_new_tokens: was 4096, is 50"),
        ):
            assert run(*arguments, *change) == 2
            assert difference in capfd.readouterr().err
        with serving(ADA) as other:
            assert run(*command(source, output, other)) == 2
        assert f"endpoint: was '{fake.url}', is '{other.url}'" in capfd.readouterr().err
        assert {path: path.read_bytes() for path in output.rglob("*.jsonl")} == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "ray"], "--engine"),
        (["--workers", "2"], "--workers"),
        (["--model", "x"], "--model"),
        (["--int8"], "--int8"),
        (["--batch-size", "4"], "--batch-size"),
        (["--gpus-per-worker", "1"], "--gpus-per-worker"),
        (["--cpus-per-worker", "2"], "--cpus-per-worker"),
        (["--address", "auto"], "--address"),
        (["--task", "judging"], "judging"),
        (["--end-bias", "1"], "end_bias"),
    ],
)
def test_what_an_endpoint_cannot_do_is_refused_before_anything_is_written(
    options: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    with serving(ADA) as fake:
        assert run(*command(notes(tmp_path, ["Ada."]), output, fake, *options)) == 2
    assert said in capfd.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize("kind", ["unreachable", "html", "refuses"])
def test_an_endpoint_of_no_use_is_told_before_anything_is_written(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ucuie.extract.remote.client.MAX_WAIT_SECONDS", 0.001)
    output, source = tmp_path / "out", notes(tmp_path, ["Ada."])
    replies: dict[str, Reply] = {"html": (200, b"<html>welcome</html>"), "refuses": refusal(401, "no key")}
    with serving(lambda _: replies.get(kind, (0, b""))) as fake:
        assert run(*command(source, output, "http://127.0.0.1:9/v1" if kind == "unreachable" else fake)) == 2
    assert len(capfd.readouterr().err.strip().splitlines()) <= 4
    assert not output.exists()


def test_without_an_endpoint_its_options_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = notes(tmp_path, ["Ada."])
    assert run("batch", str(source), str(tmp_path / "out"), "--schema", '["x"]', "--concurrency", "2") == 2
    assert "--concurrency" in capfd.readouterr().err


def test_a_text_that_something_here_fails_at_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"Ada {number}." for number in range(70)]
    read = WindowReader.read

    async def fails(reader: WindowReader, part: Part) -> Part:
        if part.text in ("Ada 5.", "Ada 40."):
            raise RecursionError("too deep")
        return await read(reader, part)

    monkeypatch.setattr(WindowReader, "read", fails)
    source, output = notes(tmp_path, texts), tmp_path / "out"
    with serving(ADA) as fake:
        assert run(*command(source, output, fake)) == 0
    assert_whole(output, 70)
    assert [row["error"] for row in rows(output) if row["error"]] == ["RecursionError: too deep"] * 2
    assert all(row["records"] for row in rows(output) if not row["error"])


def test_the_engine_says_what_it_cannot_ask(tmp_path: Path) -> None:
    with serving(ADA) as fake:
        extractor = RemoteExtractor(fake.url, "m")
        with pytest.raises(ConfigError, match="locating"):
            EndpointEngine(extractor, Question(Schema.of(["person"]), "locating"))
        fake.answer = lambda _: refusal(403, "not you")
        engine = EndpointEngine(extractor, Question(Schema.of(["person"]), "NER"))
        source = Source(str(notes(tmp_path, ["Ada."])), Columns())
        [shard] = cut_shards(source.rows(), 10, 1)
        with pytest.raises(EndpointError, match="goes on from there"):
            list(engine.answer(list(shard.slices(32))))


SERVER = """
import sys, time
from fake_endpoint import FakeServer, completion, plain
def answer(_):
    time.sleep(0.1)
    return completion('{"records": [{"frame": "person", "text": "Ada"}]}')
print(FakeServer(plain(answer), port=int(sys.argv[1])).url, flush=True)
time.sleep(600)
"""


@contextmanager
def server_process(port: int) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a server that can be killed."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip(), process
    finally:
        process.kill()
        process.communicate()


def wait_for_shard(output: Path, process: "subprocess.Popen[Any]") -> None:
    """Until another shard is there, or the process is gone."""
    num_before, deadline = len(list(output.glob("part-*"))), time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if len(list(output.glob("part-*"))) > num_before:
            return
        time.sleep(0.005)


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back_costs_nothing(tmp_path: Path) -> None:
    source, output = notes(tmp_path, [f"Ada {number} spoke." for number in range(200)]), tmp_path / "out"
    with server_process(0) as (url, server):
        arguments = [sys.executable, "-m", "ucuie", *command(source, output, url)]
        stopped = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        wait_for_shard(output, stopped)
        server.kill()
        _, said = stopped.communicate(timeout=120)
    assert stopped.returncode == 2
    assert "is a server running there" in said
    assert 0 < len(list(output.glob("part-*"))) < 20
    assert not (output / "rejected").exists()
    with server_process(int(url.rpartition(":")[2].partition("/")[0])):
        assert subprocess.run(arguments, timeout=120).returncode == 0
    assert_whole(output, 200)
    assert not any(row["error"] for row in rows(output))


@pytest.mark.slow
def test_after_ctrl_c_the_same_command_goes_on(tmp_path: Path) -> None:
    source, output = notes(tmp_path, [f"Ada {number} spoke." for number in range(200)]), tmp_path / "out"
    with server_process(0) as (url, _):
        arguments = [sys.executable, "-m", "ucuie", *command(source, output, url)]
        stopped = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        wait_for_shard(output, stopped)
        stopped.send_signal(signal.SIGINT)
        _, said = stopped.communicate(timeout=120)
        assert (stopped.returncode, said.splitlines()[-1]) == (
            130,
            "interrupted; the same command goes on from there",
        )
        assert 0 < len(list(output.glob("part-*"))) < 20
        assert subprocess.run(arguments, timeout=120).returncode == 0
    assert_whole(output, 200)


@pytest.mark.slow
def test_killed_at_random_moments_it_has_every_row_once(tmp_path: Path) -> None:
    num_rows, chance = 200, random.Random(3)
    source = notes(tmp_path, [f"Ada {number} spoke." for number in range(num_rows)])
    output = tmp_path / "out"

    def slowly(body: dict[str, Any]) -> Reply:
        time.sleep(0.02)
        return ADA(body)

    with serving(slowly) as fake:
        arguments = [sys.executable, "-m", "ucuie", *command(source, output, fake, "--quiet")]
        num_killed = 0
        for _ in range(8):
            process = subprocess.Popen(arguments)
            wait_for_shard(output, process)
            time.sleep(chance.random() / 10)
            process.kill()
            num_killed += process.wait(120) == -signal.SIGKILL
        assert num_killed >= 5
        assert subprocess.run(arguments, timeout=120).returncode == 0
    assert_whole(output, num_rows)
    assert not any(row["error"] for row in rows(output))
