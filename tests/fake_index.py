"""A package index over HTTP with the wheel of one package, and a wheel that holds one file."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from zipfile import ZIP_DEFLATED, ZipFile

WHEEL = "tiny_weights-1.0-py3-none-any.whl"


def make_wheel(file: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
        archive.writestr(file, content)
        folder = "tiny_weights-1.0.dist-info"
        archive.writestr(f"{folder}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        archive.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{folder}/RECORD", "")
    return buffer.getvalue()


class FakeIndex:
    """Tests read and change it."""

    def __init__(self) -> None:
        self.wheel = b""
        self.requests: list[str] = []
        self.has_pages = False
        """It knows HTML only."""
        self.status = 200
        self.is_cut = False
        """Of the wheel only the first half goes out."""
        self.url = ""


@contextmanager
def running_index() -> Iterator[FakeIndex]:
    index = FakeIndex()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            index.requests.append(self.path)
            if index.status != 200:
                self.send_error(index.status)
            elif self.path == "/simple/tiny-weights/":
                self.send_page()
            elif self.path == f"/files/{WHEEL}":
                self.send(index.wheel, "application/octet-stream")
            else:
                self.send_error(404)

        def send_page(self) -> None:
            sdist = "tiny_weights-1.0.tar.gz"
            if index.has_pages:
                links = "".join(
                    f'<a href="../../files/{name}#sha256=0">{name}</a>' for name in (sdist, WHEEL)
                )
                self.send(f"<!DOCTYPE html><body>{links}</body>".encode(), "text/html")
            else:
                files = [{"filename": name, "url": f"../../files/{name}"} for name in (sdist, WHEEL)]
                kind = "application/vnd.pypi.simple.v1+json"
                self.send(json.dumps({"files": files}).encode(), kind)

        def send(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            is_cut = index.is_cut and kind.endswith("octet-stream")
            self.wfile.write(content[: len(content) // 2] if is_cut else content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
