"""Hostile and clumsy clients get a problem or are dropped, and others are served meanwhile."""

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_cases import Held, Running, held_model, running
from starlette.types import Message, Receive, Scope, Send
from torch import Tensor

from tiny_model import tiny_model
from ucuie.errors import ConfigError
from ucuie.model.folder import LoadedModel
from ucuie.server.guard import Guard
from ucuie.server.observer import JsonFormatter, log_to_stderr
from ucuie.server.settings import make_settings, read_api_keys

MESSAGE = {"text": "Ada Lovelace lived in London.", "schema": ["person"]}
JSON = {"content-type": "application/json"}
KEY = "a-key-of-sixteen-characters"


@pytest.fixture(scope="module")
def strict() -> Iterator[Running]:
    """Small limits."""
    with running(
        max_texts=3,
        max_stream_texts=5,
        max_text_characters=100,
        max_elements=2,
        max_schema_names=5,
        max_schema_characters=400,
        max_body_bytes=2_000,
        receive_seconds=0.5,
    ) as server:
        yield server


def raw(server: Running, data: bytes, *, seconds: float = 60) -> bytes:
    """What the server answers to these bytes until it closes the connection."""
    with closing(socket.create_connection(("127.0.0.1", server.port), seconds)) as connection:
        connection.sendall(data)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    received = b""
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            return received
        if not piece:
            return received
        received += piece


def is_served(server: Running) -> bool:
    return httpx.post(f"{server.address}/v1/extract", json=MESSAGE, timeout=60).status_code == 200


@pytest.mark.parametrize(
    ("path", "message", "field", "words"),
    [
        ("extract", {"texts": ["x"] * 4, "schema": ["a"]}, "texts", "has 4 texts, this server takes 3"),
        ("extract/stream", {"texts": ["x"] * 6, "schema": ["a"]}, "texts", "has 6 texts"),
        ("extract", {"texts": ["x", "y" * 101], "schema": ["a"]}, "texts[1]", "has 101 characters"),
        ("extract", {"text": "y" * 101, "schema": ["a"]}, "text", "has 101 characters"),
        ("extract", {"text": "x", "schema": list("abcdef")}, "schema", "has 6 frames and slots"),
        (
            "extract",
            {"text": "x", "schema": ["a"], "n_best": 33},
            "n_best",
            "is 33, this server gives a text",
        ),
        ("extract", {"texts": ["x"] * 2, "schema": ["a"], "n_best": 2}, "n_best", "makes 4 answers"),
        (
            "extract",
            {"text": "x", "schema": ["a"], "task": "associating", "elements": [{"frame": "a"}] * 3},
            "elements",
            "has 3 elements, this server takes 2",
        ),
        ("extract", {"text": "x", "schema": {"a": "d" * 500}}, "schema", "characters"),
        ("schemas/check", {"yaml": "a" * 401}, "yaml", "has 401 characters, this server takes 400"),
        ("schemas/check", {"yaml": "[a, b, c, d, e, f]"}, "schema", "has 6 frames and slots"),
        ("extract", {"text": "x" * 3_000, "schema": ["a"]}, "the body", "more than 2,000 bytes"),
    ],
)
def test_what_is_too_large_is_refused_with_the_limit(
    strict: Running, path: str, message: Any, field: str, words: str
) -> None:
    response = strict.client.post(f"/v1/{path}", json=message)
    assert response.status_code == 413, response.text
    (fault,) = response.json()["errors"]
    assert fault["field"] == field
    assert words in fault["detail"]


ONE = {"text": "x", "schema": ["a"]}
SHARED = {f"p{number}": {"items": {"$ref": "#/d"}} for number in range(400)}
CHAINED = {f"p{number}": {"$ref": "#/d0"} for number in range(800)}
CHAIN = {f"d{number}": {"$ref": f"#/d{number + 1}"} for number in range(900)}


@pytest.mark.parametrize(
    ("message", "status", "words"),
    [
        (ONE | {"text": None, "texts": [1] * 200_000}, 413, "texts: has 200,000 texts"),
        (ONE | {"text": None, "texts": ["x"] * 500_000}, 413, "texts: has 500,000 texts"),
        (ONE | {"capabilities": ["x"] * 100_000}, 422, "has 100,000 faults"),
        (ONE | {"task": "associating", "elements": [1] * 100_000}, 413, "has 100,000 elements"),
        (ONE | {"elements": [{"frame": "a", "slots": [1] * 200_000}]}, 422, "has 200,000 faults"),
        (ONE | {"threshold": {f"n{number}": 0.5 for number in range(50_000)}}, 422, "no type 'n0'"),
        (ONE | {f"n{number}": 1 for number in range(100_000)}, 422, "no field 'n0'"),
        (ONE | {"n" * 1_000_000: 1}, 422, "no field 'nnn"),
        (ONE | {"schema": [1] * 500_000}, 413, "schema: has 1,000,001 characters"),
        (ONE | {"schema": [1] * 20_000}, 422, "frames.0.name"),
        (
            ONE | {"schema": {"type": "object", "properties": SHARED, "d": {"properties": SHARED}}},
            422,
            "slots",
        ),
        (ONE | {"schema": {"type": "object", "properties": CHAINED} | CHAIN}, 422, "10 others"),
        (
            ONE | {"schema": {"type": "object", "properties": CHAINED, "d0": {"anyOf": [{}] * 6_000}}},
            422,
            "100 are",
        ),
        (ONE | {"end_bias": 10**4_000}, 422, "end_bias is 1000"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_small_request_takes_little_time_and_gets_a_short_answer(
    client: httpx.Client, message: Any, status: int, words: str
) -> None:
    before = time.process_time()
    response = client.post("/v1/extract", json=message)
    assert time.process_time() - before < 2
    assert response.status_code == status, response.text[:500]
    assert words in response.json()["detail"]
    assert len(response.content) < 10_000


def deep(depth: int) -> bytes:
    return b'{"text": "x", "schema": ' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 422, "is missing"),
        (b'{"text": "x", ', 400, "not JSON"),
        (b'{"text": "\xff\xfe", "schema": ["a"]}', 400, "not UTF-8"),
        (deep(900), 422, "schema"),
        (deep(100_000), 400, "nested too deeply"),
        (b'{"text": ' + b"9" * 10_000 + b', "schema": ["a"]}', 400, "digits"),
        (b'{"text": "\\ud83d", "schema": ["a"]}', 422, "lone surrogate"),
        (b'{"texts": ["\\ud83d"], "schema": ["a"]}', 422, "lone surrogate"),
        (b'{"texts": [{"id": "\\ud83d", "text": "x"}], "schema": ["a"]}', 422, "lone surrogate"),
        (b'{"text": "x", "schema": ["\\udfff"]}', 422, "lone surrogate"),
        (b'{"text": "x", "schema": {"a": "\\udfff"}}', 422, "lone surrogate"),
        (b'{"text": "x", "schema": "\\udfff"}', 422, "no schema"),
        (b'{"text": "x", "schema": ["a"], "\\udfff": 1}', 422, "no field"),
        (b'{"text": NaN, "schema": ["a"]}', 422, "valid string"),
        (
            b'{"text": "x", "schema": ["a"], "end_bias": NaN}',
            422,
            "end_bias is nan; it has to be a finite number",
        ),
        (b'{"text": "x", "schema": ["a"], "threshold": Infinity}', 422, "the threshold is inf"),
    ],
)
def test_bad_bodies_are_problems(client: httpx.Client, body: bytes, status: int, words: str) -> None:
    response = client.post("/v1/extract", content=body, headers=JSON)
    assert response.status_code == status, response.text
    assert words in response.json()["detail"]


@pytest.mark.parametrize(
    "yaml",
    ["[" * 5_000, "a: &x [b]\nc: *x", "a: [b, b]", "? [x]\n: y", "\x00", "a: b: c", "!!python/object:os {}"],
)
def test_bad_yaml_is_a_problem(client: httpx.Client, yaml: str) -> None:
    response = client.post("/v1/schemas/check", json={"yaml": yaml})
    assert response.status_code == 422, response.text


def test_an_astral_character_in_two_escapes_is_one_character(client: httpx.Client) -> None:
    body = b'{"text": "x \\ud83d\\ude42", "schema": ["a"]}'
    response = client.post("/v1/extract", content=body, headers=JSON)
    assert response.json()["extractions"][0]["text"] == "x 🙂"


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "", None])
def test_what_a_form_of_another_page_could_send_is_refused(
    client: httpx.Client, media_type: str | None
) -> None:
    headers = {} if media_type is None else {"content-type": media_type}
    response = client.post("/v1/extract", content=json.dumps(MESSAGE).encode(), headers=headers)
    assert response.status_code == 415
    assert "application/json" in response.json()["detail"]


def test_a_body_without_end_is_cut_off_while_others_are_served(strict: Running) -> None:
    head = b"POST /v1/extract HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    declared = raw(strict, head + b"content-length: 104857600\r\n\r\n" + b"x" * 1000)
    assert b" 413 " in declared
    with closing(socket.create_connection(("127.0.0.1", strict.port), 10)) as connection:
        connection.sendall(head + b"transfer-encoding: chunked\r\n\r\n")
        sent = 0
        try:
            for _ in range(1_600):
                connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
                sent += 65536
        except OSError:
            pass
        assert sent < 20e6, "the server went on reading"
    assert is_served(strict)


def test_a_slow_body_gets_408(strict: Running) -> None:
    head = b"POST /v1/extract HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    assert b" 408 " in raw(strict, head + b"content-length: 100\r\n\r\n{")
    assert is_served(strict)


def test_nonsense_instead_of_http_is_refused(strict: Running) -> None:
    assert b" 400 " in raw(strict, b"\x16\x03\x01\x02\x00\x01\r\n\r\n")
    assert b" 400 " in raw(strict, b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 100_000)
    assert is_served(strict)


@pytest.fixture
def held() -> Iterator[Held]:
    """A model that is let go at the end of the test at the latest."""
    one = held_model()
    yield one
    one.go.set()


def test_a_full_queue_answers_429_and_the_accepted_are_answered(held: Held) -> None:
    with (
        running(lambda: held.model, batch_size=1, queue_size=2, max_texts=2) as server,
        ThreadPoolExecutor(3) as pool,
    ):

        def post(**changes: Any) -> httpx.Response:
            return httpx.post(f"{server.address}/v1/extract", json=MESSAGE | changes, timeout=60)

        accepted = [pool.submit(post)]
        assert held.entered.wait(60)
        accepted += [pool.submit(post), pool.submit(post)]
        deadline = time.monotonic() + 30
        while server.engine.num_waiting < 2:
            assert time.monotonic() < deadline, "the requests did not reach the queue"
            time.sleep(0.01)
        refused = post()
        streamed = httpx.post(f"{server.address}/v1/extract/stream", json=MESSAGE, timeout=60)
        for response in (refused, streamed):
            assert response.status_code == 429
            assert int(response.headers["retry-after"]) >= 1
            assert "2 texts wait already; try again in" in response.json()["detail"]
        held.go.set()
        assert [future.result().status_code for future in accepted] == [200, 200, 200]
        assert post().status_code == 200


def test_the_time_limit_ends_a_request_and_frees_its_place(held: Held) -> None:
    with running(lambda: held.model, batch_size=1, request_seconds=0.3) as server:
        response = server.client.post("/v1/extract", json=MESSAGE)
        assert response.status_code == 504
        assert "no answer within 0.3 s" in response.json()["detail"]
        line = server.client.post("/v1/extract/stream", json=MESSAGE).json()
        assert line["problem"]["status"] == 504
        held.go.set()
        # On a busy machine an answer may take longer than that once more.
        assert any(is_served(server) for _ in range(50))


def test_a_server_stops_while_a_long_batch_is_worked_on_that_nobody_waits_for(held: Held) -> None:
    with running(lambda: held.model, request_seconds=0.3) as server:
        message = MESSAGE | {"text": "Ada Lovelace lived in London. " * 600}
        assert server.client.post("/v1/extract", json=message).status_code == 504
        held.forwards.clear()
        held.go.set()
    assert len(held.forwards) <= 1


def test_texts_of_a_client_that_has_gone_are_not_worked_on(held: Held) -> None:
    with running(lambda: held.model, batch_size=1) as server:
        first = threading.Thread(target=is_served, args=[server])
        first.start()
        assert held.entered.wait(60)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{server.address}/v1/extract",
                json=MESSAGE | {"text": "gone"},
                timeout=httpx.Timeout(5, read=0.3),
            )
        with closing(socket.create_connection(("127.0.0.1", server.port), 10)) as connection:
            connection.sendall(b"POST /v1/extract HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{")
        held.go.set()
        first.join()
        assert is_served(server)
        counted = server.client.get("/metrics").text
        assert "ucuie_texts_total 2.0" in counted
        assert 'status="499"' in counted


def test_more_requests_than_may_run_get_429(held: Held) -> None:
    with running(lambda: held.model, max_requests=1) as server:
        first = threading.Thread(target=is_served, args=[server])
        first.start()
        assert held.entered.wait(60)
        response = server.client.post("/v1/extract", json=MESSAGE)
        assert (response.status_code, response.headers["retry-after"]) == (429, "2")
        held.go.set()
        first.join()


class Panic(BaseException):
    """As pyo3 raises where Rust panics."""


def breakable_model(kind: type[BaseException] = RuntimeError) -> LoadedModel:
    """A model that fails where a text has a character that no other has."""
    loaded = tiny_model()
    (bad,) = loaded.tokenizer("\x07")["input_ids"]

    def fail(_: object, arguments: tuple[Tensor]) -> None:
        if (arguments[0] == bad).any():
            raise kind("a secret of the text")

    loaded.model.get_input_embeddings().register_forward_pre_hook(fail)
    return loaded


@pytest.mark.parametrize("kind", [RuntimeError, Panic])
def test_a_text_that_breaks_the_model_fails_alone(
    caplog: pytest.LogCaptureFixture, kind: type[BaseException]
) -> None:
    with running(lambda: breakable_model(kind)) as server, ThreadPoolExecutor(4) as pool:

        def post(text: str) -> httpx.Response:
            return httpx.post(
                f"{server.address}/v1/extract", json={"text": text, "schema": ["a"]}, timeout=60
            )

        responses = list(pool.map(post, ["x", "x \x07 y", "y", "z"] * 3))
        assert server.client.get("/healthz").status_code == 200
    assert [response.status_code for response in responses] == [200, 500, 200, 200] * 3
    problem = responses[1].json()
    assert "secret" not in responses[1].text
    failures = [record for record in caplog.records if record.exc_info]
    assert problem["request_id"] in {record.fields["id"] for record in failures}
    for is_asked, formatter in ((False, JsonFormatter()), (True, JsonFormatter(log_texts=True))):
        line = formatter.format(failures[0])
        assert ("secret" in line) == is_asked
        assert json.loads(line)["error"] == "RuntimeError"


def test_the_log_has_texts_only_if_asked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="ucuie.server")
    for log_texts in (False, True):
        caplog.clear()
        with running(log_texts=log_texts) as server:
            assert is_served(server)
        lines = [JsonFormatter(log_texts=log_texts).format(record) for record in caplog.records]
        (line,) = [json.loads(line) for line in lines if "/v1/extract" in line]
        assert (line["status"], line["num_texts"], line["num_characters"]) == (200, 1, len(MESSAGE["text"]))
        assert any("Lovelace" in line for line in lines) == log_texts


def test_keys_are_asked_for_where_there_are_any() -> None:
    with running(api_keys=(KEY, KEY + "2"), cors_origins=("https://example.org",)) as server:
        for headers in ({}, {"authorization": "Bearer no"}, {"x-api-key": KEY[:-1]}, {"authorization": KEY}):
            response = server.client.get("/v1/models", headers=headers)
            assert response.status_code == 401, headers
            assert response.headers["www-authenticate"] == "Bearer"
            assert KEY not in response.text
        for headers in ({"authorization": f"bearer {KEY}2"}, {"x-api-key": KEY}):
            assert server.client.get("/v1/models", headers=headers).status_code == 200
            assert server.client.get("/metrics", headers=headers).status_code == 200
        assert server.client.get("/metrics").status_code == 401
        for path in ("/", "/healthz", "/readyz", "/openapi.json"):
            assert server.client.get(path).status_code == 200
        # Browsers ask without the key whether they may send it.
        asked = {"origin": "https://example.org", "access-control-request-method": "POST"}
        assert server.client.options("/v1/extract", headers=asked).status_code == 200


def test_a_page_that_may_read_answers_may_read_why_there_is_none() -> None:
    origin = {"origin": "https://example.org"}
    with running(
        breakable_model, api_keys=(KEY,), cors_origins=tuple(origin.values()), max_body_bytes=2_000
    ) as server:
        headers = origin | {"x-api-key": KEY}
        broken = {"text": "x \x07 y", "schema": ["a"]}
        answers = [
            server.client.get("/v1/models", headers=origin),
            server.client.get("/", headers=origin | {"host": "example.org"}),
            server.client.get("/nothing", headers=origin),
            server.client.post("/v1/extract", headers=headers, content=b"x" * 3_000),
            server.client.post("/v1/extract", headers=headers, json=broken),
        ]
    assert [answer.status_code for answer in answers] == [401, 421, 404, 413, 500]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        assert answer.headers["x-request-id"] == answer.json()["request_id"]


def test_an_answer_that_nobody_reads_is_broken_off() -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    guard = Guard(answer, settings=make_settings(request_seconds=0.05))
    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "state": {"request_id": "1"}}
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(guard(scope, receive, send), 30))
    assert time.monotonic() - start < 20


def test_health_is_told_while_no_more_requests_are_taken(held: Held) -> None:
    with running(lambda: held.model, max_requests=1) as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(is_served, server)
        assert held.entered.wait(60)
        assert server.client.post("/v1/extract", json=MESSAGE).status_code == 429
        assert server.client.get("/healthz").status_code == 200
        held.go.set()
        assert first.result()


def test_what_the_event_loop_says_is_json_without_texts_and_no_flood(
    capsys: pytest.CaptureFixture[str],
) -> None:
    loggers = [logging.getLogger(name) for name in ("ucuie.server", "uvicorn", "asyncio")]
    before = [(one, one.handlers, one.propagate, one.level) for one in loggers]
    try:
        log_to_stderr(log_texts=False)
        for _ in range(1_000):
            logging.getLogger("asyncio").error("no more files\nfuture: 'a secret'")
    finally:
        for one, handlers, propagate, level in before:
            one.handlers, one.propagate = handlers, propagate
            one.setLevel(level)
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["event"] for line in lines[:1]] == ["no more files"]
    assert len(lines) <= 3


def test_other_origins_read_nothing_unless_allowed(client: httpx.Client) -> None:
    origin = {"origin": "https://example.org"}
    assert "access-control-allow-origin" not in client.get("/v1/models", headers=origin).headers
    with running(cors_origins=("https://example.org",)) as server:
        for asked, allowed in (("https://example.org", "https://example.org"), ("https://example.com", None)):
            response = server.client.get("/v1/models", headers={"origin": asked})
            assert response.headers.get("access-control-allow-origin") == allowed


def test_a_page_cannot_reach_a_local_server_by_a_name_of_its_own(client: httpx.Client) -> None:
    for host in ("evil.example", "evil.example:8000", "localhost.evil.example", "localhost:x", ""):
        response = client.get("/v1/models", headers={"host": host})
        assert response.status_code == 421, host
    for host in ("localhost", "LOCALHOST:80", "127.0.0.1:8000", "[::1]", "[::1]:8000"):
        assert client.get("/v1/models", headers={"host": host}).status_code == 200, host
    with running(allowed_hosts=("ucuie.example",), wait=False) as server:
        assert server.client.get("/healthz", headers={"host": "ucuie.example"}).status_code == 200
        assert server.client.get("/healthz").status_code == 421


def test_every_answer_tells_the_browser_to_trust_nothing(client: httpx.Client) -> None:
    for path in ("/", "/healthz", "/nothing"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]


def test_keys_come_from_a_file_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# mine\n{KEY}  # laptop\n\n{KEY}\n")
    monkeypatch.setenv("UCUIE_API_KEYS", f"{KEY}3, {KEY}4")
    assert read_api_keys(path) == (f"{KEY}3", f"{KEY}4", KEY)
    path.write_text("# none\n")
    with pytest.raises(ConfigError, match="holds no API key"):
        read_api_keys(path)
    with pytest.raises(ConfigError, match="No such file"):
        read_api_keys(tmp_path / "missing")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"api_keys": ("short",)}, "API key 1 is not 16 or more"),
        ({"api_keys": (KEY, f"{KEY} b")}, "API key 2"),
        ({"cors_origins": ("https://example.org/page",)}, "is not an origin"),
        ({"queue_size": 3}, "raise queue_size or lower max_texts"),
        ({"request_seconds": 0}, "request_seconds"),
    ],
)
def test_impossible_settings_are_refused_without_showing_keys(values: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        make_settings(**values)
    assert KEY not in str(caught.value)
    assert "short" not in str(caught.value)
