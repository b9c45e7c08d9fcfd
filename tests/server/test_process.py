"""`ucuie serve` as a process: it stops without loss, comes back after a kill, and refuses clearly."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ucuie.lab.bench.serve import Server, running_server

NUM_CLIENTS = 24
READY_SECONDS = 120.0
"""Until a server is ready; 5 on an idle machine, and tests run on busy ones."""


@pytest.fixture(scope="module")
def model(adapted_folder: Path) -> str:
    return str(adapted_folder)


def waiting(server: Server) -> float:
    lines = httpx.get(f"{server.address}/metrics", timeout=30).text.splitlines()
    return sum(
        float(line.split()[1]) for line in lines if line.startswith(("ucuie_waiting_t", "ucuie_running_t"))
    )


@pytest.mark.slow
def test_a_signal_under_load_loses_no_accepted_request(model: str) -> None:
    with (
        running_server("--model", model, "--batch-size", "1") as server,
        ThreadPoolExecutor(NUM_CLIENTS) as pool,
    ):

        def ask(number: int) -> httpx.Response:
            message = {"texts": [{"id": str(number), "text": f"Ada {number}"}], "schema": "opinions"}
            return httpx.post(f"{server.address}/v1/extract", json=message, timeout=60)

        asked = [pool.submit(ask, number) for number in range(NUM_CLIENTS)]
        while waiting(server) < NUM_CLIENTS * 3 // 4:
            assert not all(one.done() for one in asked), "the requests were answered too soon to be waiting"
        accepted = waiting(server)
        server.process.send_signal(signal.SIGTERM)
        answers = [one.result() for one in asked]
        assert server.process.wait(120) == 0
    assert accepted > 1
    assert [answer.status_code for answer in answers] == [200] * NUM_CLIENTS
    assert [answer.json()["extractions"][0]["id"] for answer in answers] == [
        str(n) for n in range(NUM_CLIENTS)
    ]


def files(folder: str) -> list[Path]:
    return sorted(Path(folder).rglob("*"))


@pytest.mark.slow
def test_after_a_kill_the_same_address_is_served_again(model: str) -> None:
    before = files(model)
    with running_server("--model", model) as server:
        port = int(server.address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)):
            server.process.kill()
            server.process.wait()
    # Once more in the middle of loading.
    command = [sys.executable, "-m", "ucuie", "serve", "--quiet", "--model", model, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as loading:
        wait_until_listening(port, loading)
        loading.kill()
    with running_server("--model", model, port=port) as again:
        assert again.address == f"http://127.0.0.1:{port}"
        assert httpx.get(f"{again.address}/readyz").json() == {"status": "ready"}
        (served,) = httpx.get(f"{again.address}/v1/models").json()["models"]
        assert served["name"] == Path(model).name
        assert again.ready_seconds < READY_SECONDS
    assert files(model) == before


def wait_until_listening(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "it did not start"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("it did not listen")


@contextmanager
def occupied() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def refused(*options: str, program: str = "", **environment: str) -> str:
    command = ["-c", program] if program else ["-m", "ucuie"]
    result = subprocess.run(
        [sys.executable, *command, "serve", *options],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.split())


@pytest.mark.slow
def test_what_cannot_be_served_is_refused(tmp_path: Path) -> None:
    with occupied() as port:
        words = refused("--port", str(port))
        assert "cannot be listened on: Address already in use; --port 0 takes a free port" in words
    assert "there is no folder" in refused("--schemas", str(tmp_path / "none"))
    (tmp_path / "bad.yaml").write_text("a: [b, b]\n")
    assert "lists slot 'b' twice" in refused("--schemas", str(tmp_path))
    assert "API key 1 is not 16" in refused(UCUIE_API_KEYS="secret")
    assert "raise queue_size or lower max_texts" in refused("--queue-size", "5")


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_ends_the_server(tmp_path: Path) -> None:
    assert "model error: " in refused("--model", str(tmp_path), "--port", "0")


def test_a_missing_extra_is_named() -> None:
    program = "import sys; sys.modules['fastapi'] = None; from ucuie.cli import main; main()"
    assert "pip install 'ucuie[serve]'" in refused(program=program)
