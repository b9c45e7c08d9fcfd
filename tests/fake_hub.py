"""A hub over HTTP, as far as `huggingface_hub` asks it for pushes, pulls and models by their ids.

Accounts: the token "mine" is that of the owner "me", "theirs" that of "them"; without one nobody may write.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import yaml

ACCOUNTS = {"Bearer mine": "me", "Bearer theirs": "them"}
Files = dict[str, bytes]


@dataclass
class Repo:
    is_private: bool = False
    branches: dict[str, str] = field(default_factory=lambda: {"main": hashlib.sha1(b"").hexdigest()})
    commits: dict[str, Files] = field(default_factory=lambda: {hashlib.sha1(b"").hexdigest(): {}})

    def commit(self, branch: str, files: Files) -> str:
        content = {**self.commits[self.branches[branch]], **files}
        sha = hashlib.sha1(repr((branch, sorted(content.items()))).encode()).hexdigest()
        self.commits[sha] = content
        self.branches[branch] = sha
        return sha

    def files(self, branch: str = "main") -> Files:
        return self.commits[self.branches[branch]]


class FakeHub:
    """The state of the hub; tests read and change it."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.damaged: set[str] = set()
        """Files that go out with other bytes than they came with."""
        self.cut: set[str] = set()
        """Files of which only the first half goes out, however often they are asked for."""
        self.is_mirror = False
        """Weights are said to lie on xet, as a mirror repeats it, though the mirror has none."""
        self.endpoint = ""


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    hub = FakeHub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: ClassVar[FakeHub]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._route()

    def do_HEAD(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._route()

    def do_PUT(self) -> None:
        self._route()

    def _route(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        length = self.headers.get("Content-Length")
        self.body = self.rfile.read(int(length)) if length else self._chunked()
        self.account = ACCOUNTS.get(self.headers.get("Authorization", ""))
        if path == "/api/repos/create":
            return self._create(json.loads(self.body))
        if path == "/api/validate-yaml":
            return self._validate(json.loads(self.body)["content"])
        if path.startswith("/lfs/"):
            self.hub.objects[path.removeprefix("/lfs/")] = self.body
            return self._answer({})
        for pattern, act in (
            (r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", self._lfs_batch),
            (r"/api/models/(?P<repo>[^/]+/[^/]+)/preupload/(?P<revision>.+)", self._preupload),
            (r"/api/models/(?P<repo>[^/]+/[^/]+)/commit/(?P<revision>.+)", self._commit),
            (r"/api/models/(?P<repo>[^/]+/[^/]+)/branch/(?P<revision>.+)", self._branch),
            (r"/api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)", self._tree),
            (r"/api/models/(?P<repo>[^/]+/[^/]+)(/revision/(?P<revision>.+))?", self._info),
            (r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)", self._resolve),
        ):
            if found := re.fullmatch(pattern, path):
                return self._of_repo(found, act)
        return self._refuse(404, "", "no such page")

    def _of_repo(self, found: re.Match[str], act: Any) -> None:
        arguments = found.groupdict()
        name = arguments.pop("repo")
        repo = self.hub.repos.get(name)
        if repo is None or (repo.is_private and self.account != name.split("/")[0]):
            return self._refuse(401 if self.account is None else 404, "RepoNotFound", "Repository not found")
        if self.command in ("POST", "PUT") and self.account != name.split("/")[0]:
            return self._refuse(401 if self.account is None else 403, "", "you may not write here")
        return act(name, repo, **arguments)

    def _chunked(self) -> bytes:
        parts = []
        while self.headers.get("Transfer-Encoding") == "chunked":
            size = int(self.rfile.readline(), 16)
            parts.append(self.rfile.read(size))
            self.rfile.readline()
            if not size:
                break
        return b"".join(parts)

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if self.account is None:
            return self._refuse(401, "", "Invalid credentials in Authorization header")
        if self.account != asked["organization"]:
            return self._refuse(403, "", "You don't have the rights to create a model under this namespace")
        url = {"url": f"{self.hub.endpoint}/{name}"}
        if name in self.hub.repos:
            return self._answer(url, status=409)
        is_private = asked.get("visibility") == "private" or asked.get("private") is True
        self.hub.repos[name] = Repo(is_private)
        return self._answer(url)

    def _validate(self, content: str) -> None:
        found = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        metadata = yaml.safe_load(found[1]) if found else None
        if not isinstance(metadata, dict):
            errors = [{"message": "no metadata"}]
            return self._answer({"errors": errors, "warnings": []}, status=400)
        return self._answer({"errors": [], "warnings": []})

    def _preupload(self, name: str, repo: Repo, revision: str) -> None:
        files = [file["path"] for file in json.loads(self.body)["files"]]
        modes = {path: "lfs" if path.endswith(".safetensors") else "regular" for path in files}
        self._answer(
            {"files": [{"path": p, "uploadMode": mode, "shouldIgnore": False} for p, mode in modes.items()]}
        )

    def _lfs_batch(self, name: str, repo: Repo) -> None:
        objects = json.loads(self.body)["objects"]
        for one in objects:
            one["actions"] = {"upload": {"href": f"{self.hub.endpoint}/lfs/{one['oid']}"}}
        self._answer({"transfer": "basic", "objects": objects})

    def _commit(self, name: str, repo: Repo, revision: str) -> None:
        files: Files = {}
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        sha = repo.commit(revision, files)
        self._answer({"commitUrl": f"{self.hub.endpoint}/{name}/commit/{sha}", "commitOid": sha})

    def _branch(self, name: str, repo: Repo, revision: str) -> None:
        is_new = revision not in repo.branches
        repo.branches.setdefault(revision, repo.branches["main"])
        self._answer({}, status=200 if is_new else 409)

    def _info(self, name: str, repo: Repo, revision: str | None) -> None:
        sha = self._commit_of(repo, revision or "main")
        if sha is not None:
            self._answer(
                {"id": name, "modelId": name, "sha": sha, "private": repo.is_private, "siblings": []}
            )

    def _tree(self, name: str, repo: Repo, revision: str) -> None:
        sha = self._commit_of(repo, revision)
        if sha is not None:
            self._answer([_entry(path, content) for path, content in sorted(repo.commits[sha].items())])

    def _resolve(self, repo_id: str, repo: Repo, revision: str, name: str) -> None:
        sha = self._commit_of(repo, revision)
        if sha is None:
            return None
        if name not in repo.commits[sha]:
            return self._refuse(404, "EntryNotFound", "no such file")
        content = repo.commits[sha][name]
        etag = hashlib.sha256(content).hexdigest()
        if name in self.hub.damaged:
            content = content[:-1] + bytes([content[-1] ^ 1])
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": sha, "X-Linked-Size": str(len(content))}
        if self.hub.is_mirror and name.endswith(".safetensors"):
            route = f"{self.hub.endpoint}/api/models/{repo_id}/xet-read-token/{sha}"
            headers |= {"X-Xet-Hash": etag, "X-Xet-Refresh-Route": route}
        start = int(found[1]) if (found := re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))) else 0
        return self._send(206 if start else 200, content[start:], headers, is_cut=name in self.hub.cut)

    def _commit_of(self, repo: Repo, revision: str) -> str | None:
        sha = repo.branches.get(revision, revision)
        if sha in repo.commits:
            return sha
        self._refuse(404, "RevisionNotFound", "Invalid rev id")
        return None

    def _refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self._answer({"error": message}, status=status, headers=headers)

    def _answer(self, value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"} | (headers or {}))

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, is_cut: bool = False) -> None:
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if is_cut else content)
        if is_cut:
            self.close_connection = True


def _entry(path: str, content: bytes) -> dict[str, Any]:
    oid = hashlib.sha1(content).hexdigest()
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": oid}
    if path.endswith(".safetensors"):
        digest = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
    return entry
