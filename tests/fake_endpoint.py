"""An OpenAI-compatible chat endpoint over real HTTP, whose answers a test decides.

`Obedient` answers as a server with constrained decoding does, with a model that knows nothing: it writes at
random whatever the grammar or JSON schema of the request allows, by llguidance.
"""

import json
import random
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import llguidance
import numpy as np

Reply = tuple[int, bytes | Iterable[bytes]] | tuple[int, bytes, dict[str, str]]
"""Status, content, whole or in pieces as they come, and headers; status 0 hangs up."""
Answer = Callable[[dict[str, Any]], Reply]
HELLO = "Hello there!"


def completion(content: Any, finish_reason: str = "stop", **message: Any) -> Reply:
    choice = {"message": {"role": "assistant", "content": content} | message, "finish_reason": finish_reason}
    return 200, json.dumps({"choices": [choice]}).encode()


def refusal(status: int, said: str, **headers: str) -> Reply:
    return status, json.dumps({"error": {"message": said}}).encode(), headers


def text_of(body: dict[str, Any]) -> str | None:
    """The text that is asked about; None for a question about no text."""
    match = re.search(r"<text>\n(.*)\n</text>\Z", body["messages"][-1]["content"], re.DOTALL)
    return None if match is None else match[1]


class FakeServer:
    """Keeps what it was asked; `answer` says what it answers, and may be replaced. Port 0 is any."""

    def __init__(self, answer: Answer, port: int = 0) -> None:
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.num_open = 0
        self.most_open = 0
        lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    fake.bodies.append(body)
                    fake.headers.append(dict(self.headers))
                    fake.num_open += 1
                    fake.most_open = max(fake.most_open, fake.num_open)
                try:
                    status, content, *headers = fake.answer(body)
                finally:
                    with lock:
                        fake.num_open -= 1
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in (headers[0] if headers else {}).items():
                    self.send_header(name, value)
                if isinstance(content, bytes):
                    self.send_header("content-length", str(len(content)))
                    content = [content]
                else:
                    self.send_header("connection", "close")
                self.end_headers()
                for piece in content:
                    self.wfile.write(piece)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 64

            def handle_error(self, *_: Any) -> None:
                """A client that hangs up is part of the tests."""

        self._server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    @property
    def questions(self) -> list[dict[str, Any]]:
        """The requests about texts: without those that try what the endpoint obeys."""
        return [body for body in self.bodies if text_of(body) is not None]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(answer: Answer) -> Iterator[FakeServer]:
    server = FakeServer(answer)
    try:
        yield server
    finally:
        server.close()


def plain(answer: Answer) -> Answer:
    """Ignores every constraint, and says hello where it is asked for nothing else."""
    return lambda body: completion(HELLO) if text_of(body) is None else answer(body)


class Obedient:
    """Holds answers to the fields of a request that it knows, and ignores or refuses all others.

    Args:
        fields: that it knows, as the dialects name them.
        notations: of grammars that it reads; others it refuses.
        is_strict: refuses fields that it does not know.
        seed: of what it writes.
        most_bytes: of an answer, before it is cut.
    """

    KNOWN = frozenset({"model", "messages", "temperature", "max_tokens", "logprobs"})

    def __init__(
        self,
        *fields: str,
        notations: tuple[str, ...] = ("lark", "gbnf"),
        is_strict: bool = False,
        seed: int = 0,
        most_bytes: int = 400,
    ) -> None:
        self._fields = fields
        self._notations = notations
        self._is_strict = is_strict
        self._random = random.Random(seed)
        self._most_bytes = most_bytes
        self._tokenizer = llguidance.LLTokenizer("byte")

    def __call__(self, body: dict[str, Any]) -> Reply:
        unknown = body.keys() - self.KNOWN - set(self._fields)
        if self._is_strict and unknown:
            return refusal(400, f"Unrecognized request argument supplied: {', '.join(sorted(unknown))}")
        given = next((body[name] for name in self._fields if name in body), None)
        if given is None:
            return completion(HELLO)
        if isinstance(given, dict) and given.get("type") == "json_schema":
            schema = json.dumps(given["json_schema"]["schema"])
            return self._write(llguidance.LLMatcher.grammar_from_json_schema(schema))
        grammar = given["grammar"] if isinstance(given, dict) else given
        notation = "gbnf" if "::=" in grammar else "lark"
        if notation not in self._notations:
            return refusal(400, "Invalid grammar specification.")
        return self._write(llguidance.grammar_from("grammar", grammar))

    def _write(self, grammar: str) -> Reply:
        matcher = llguidance.LLMatcher(self._tokenizer, grammar)
        if matcher.is_error():
            return refusal(400, f"Grammar error: {matcher.get_error()}")
        written: list[int] = []
        while not matcher.is_stopped() and len(written) < self._most_bytes:
            mask = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
            allowed = [token for token in np.flatnonzero(mask) if token < 256]
            if not allowed:
                break
            # What ends something is likelier than chance has it, or all would be cut.
            ends = [token for token in allowed if token in b'])"']
            others = [token for token in allowed if token != ord("}")]
            preferred = ends if ends and self._random.random() < 0.3 else others or allowed
            token = int(self._random.choice(preferred if self._random.random() < 0.9 else allowed))
            matcher.consume_token(token)
            written.append(token)
        content = bytes(written).decode(errors="replace")
        return completion(content, "stop" if matcher.is_accepting() else "length")
