"""Pages of documentation, and how the blocks in them are run.

| block | what is done with it |
|---|---|
| `python` | run, with the names of the blocks before it on the page |
| `bash` | every command is run; `ucuie serve` stays up until the end of the page, and `curl` asks it |
| with `title="NAME"` | written to that file |
| `json`, `jsonl`, `yaml` | read |

`<!-- given: NAME, NAME -->` says what a reader is assumed to have, by the names of `GIVEN`. Before a block
that cannot be run stands `<!-- not run: REASON -->`, the reason being one of `REASONS`.
"""

import argparse
import io
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import httpx
import yaml

from fake_endpoint import Obedient, serving
from ucuie.lab.bench.serve import running_server

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "src" / "ucuie" / "models" / "ucuie-mini"
LANGUAGES = {"bash", "python", "csv", "diff", "json", "jsonl", "text", "toml", "xml", "yaml"}
REASONS = {
    "installs packages",
    "needs a download",
    "needs a GPU",
    "needs an account",
    "needs other machines",
    "needs the raw data set",
    "needs a larger machine",
    "takes hours",
}
# What is a training on a page is two steps of one here.
SHORT_TRAINING = ["--set", "warming.max_steps=1", "--set", "multitask.max_steps=1", "--set", "batch_size=2"]

ENDPOINT = "http://localhost:8000/v1"
"""On pages, a language model on another server; here a stand-in takes its place."""

_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>.*?) -->\n+)?^```(?P<info>[^\n`]*)\n(?P<content>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_GIVEN = re.compile(r"<!-- given: (.*?) -->")
_TITLE = re.compile(r'title="([^"]+)"')
_SHELL = {"|", ">", ">>", "<", "&&", "&", ";"}


@dataclass(frozen=True)
class Block:
    language: str
    title: str | None
    reason: str | None
    """Why it is not run."""
    content: str


def pages() -> list[str]:
    """All of `docs/`, and what else is a page of the repository or of the site."""
    docs = sorted((ROOT / "docs").rglob("*.md"))
    others = ["README.md", "CONTRIBUTING.md", "making/README.md", "making/mini/README.md"]
    return [*others, *(path.relative_to(ROOT).as_posix() for path in (MODEL / "README.md", *docs))]


def read_page(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    found = []
    for match in _BLOCK.finditer(read_page(page)):
        language, _, rest = match["info"].strip().partition(" ")
        title = _TITLE.search(rest)
        found.append(Block(language, title and title[1], match["reason"], match["content"]))
    return found


def given(page: str) -> list[str]:
    return [name.strip() for names in _GIVEN.findall(read_page(page)) for name in names.split(",")]


def _sample(path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "sample", path)
    validation = (path / "validation.jsonl").read_text(encoding="utf-8")
    (path / "test.jsonl").write_text(validation.replace("validation", "test"), encoding="utf-8")


def _notes(path: Path) -> None:
    texts = ["Maria Okafor works for Bayer in Cologne.", "Daniel Novak joined the Nordic Institute."]
    lines = [json.dumps({"id": f"note-{number}", "text": text}) for number, text in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _notes_folder(path: Path) -> None:
    path.mkdir()
    (path / "monday.txt").write_text("Maria Okafor lives in Cologne.\n", encoding="utf-8")


def _schema(path: Path) -> None:
    path.write_text("person: []\nlocation: []\nSpeech: [Speaker, Place]\n", encoding="utf-8")


def _spans(path: Path) -> None:
    ada, bob = ({"text": text, "start": start, "end": start + 3} for text, start in (("Ada", 0), ("Bob", 8)))
    elements = [{"frame": "person", "filler": filler} for filler in (ada, bob)]
    path.write_text(json.dumps({"text": "Ada met Bob.", "elements": elements}) + "\n", encoding="utf-8")


GIVEN: dict[str, Callable[[Path], object]] = {
    "endpoint": lambda _: None,  # is started by `PageRun`
    "examples": lambda path: shutil.copytree(ROOT / "examples", path),
    "my_data": _sample,
    "my-model": lambda path: shutil.copytree(MODEL, path),
    "my.yaml": _schema,
    "notes": _notes_folder,
    "notes.jsonl": _notes,
    "spans.jsonl": _spans,
}


class PageRun:
    """Runs the blocks of a page in a folder, which is the current one; use it in a `with`."""

    def __init__(self, page: str, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.num_run = 0
        self._names: dict[str, object] = {"__name__": "page"}
        self._exit = ExitStack()
        self._address: str | None = None
        self._endpoint = ENDPOINT
        for name in given(page):
            GIVEN[name](folder / name)

    def __enter__(self) -> "PageRun":
        if "endpoint" in given(self.page):
            self._endpoint = self._exit.enter_context(serving(Obedient("grammar"))).url
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def run(self, block: Block) -> None:
        if block.reason is not None:
            return
        if block.title is not None:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.content, encoding="utf-8")
        if block.language == "python":
            # A line of a traceback is a line of the page.
            before = read_page(self.page).partition(block.content)[0].count("\n")
            program = block.content.replace(ENDPOINT, self._endpoint)
            exec(compile("\n" * before + program, self.page, "exec"), self._names)
        elif block.language == "bash":
            for command in _commands(block.content):
                self._command(command.replace(ENDPOINT, self._endpoint))
        elif block.language == "json":
            json.loads(block.content)
        elif block.language == "jsonl":
            for line in block.content.splitlines():
                json.loads(line)
        elif block.language == "yaml":
            yaml.safe_load(block.content)
        self.num_run += 1

    def _command(self, command: str) -> None:
        words = shlex.split(command, comments=True)
        if not words:
            return
        if words[0] == "curl":
            self._curl(words[1:])
        elif words[0] != "ucuie" or _SHELL.intersection(words):
            self._shell(command)
        elif words[1] == "serve":
            options = [word for word in words[2:] if word not in ("--port", "8000")]
            self._address = self._exit.enter_context(running_server(*options)).address
        else:
            is_training = words[1] == "train" and "--estimate" not in words
            options = SHORT_TRAINING if is_training else []
            self._ucuie([*words[1:], *options])

    def _ucuie(self, arguments: list[str]) -> None:
        """`python -m ucuie`, within this process: torch is loaded once and not for every command."""
        code: object = 0
        output = io.StringIO()
        with (
            patch.object(sys, "argv", ["ucuie", *arguments]),
            redirect_stdout(output),
            redirect_stderr(output),
            warnings.catch_warnings(action="ignore"),  # as outside of tests
        ):
            try:
                runpy.run_module("ucuie", run_name="__main__")
            except SystemExit as end:
                code = end.code or 0
        assert code == 0, f"{self.page}: ucuie {shlex.join(arguments)}\n{output.getvalue()}"

    def _shell(self, command: str) -> None:
        programs = self.folder / ".programs"
        programs.mkdir(exist_ok=True)
        for name, meaning in (("ucuie", f'"{sys.executable}" -m ucuie'), ("python", f'"{sys.executable}"')):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec {meaning} "$@"\n', encoding="utf-8")
            program.chmod(0o755)
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.folder,
            env=os.environ | {"NO_COLOR": "1", "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, f"{self.page}: {command}\n{result.stdout}\n{result.stderr}"

    def _curl(self, arguments: list[str]) -> None:
        """What curl would do: not every machine has it. Options that stand on no page yet are refused."""
        parser = argparse.ArgumentParser("curl", exit_on_error=False)
        parser.add_argument("url")
        parser.add_argument("-H", "--header", action="append", default=[])
        parser.add_argument("--data")
        parser.add_argument("--no-buffer", action="store_true")
        parser.add_argument("--fail", action="store_true")
        options = parser.parse_args(arguments)
        assert self._address is not None, f"{self.page} asks a server that was not started"
        url = options.url.replace("http://127.0.0.1:8000", self._address)
        headers = dict(header.split(": ", 1) for header in options.header)
        method = "GET" if options.data is None else "POST"
        answer = httpx.request(method, url, headers=headers, content=options.data, timeout=60)
        assert answer.status_code == 200, f"{self.page}: {url} {answer.status_code}\n{answer.text}"


def _commands(content: str) -> Iterator[str]:
    """Commands as the shell reads them: a line goes on where a quote is open or a backslash ends it."""
    command = ""
    for line in content.splitlines():
        command = f"{command}\n{line}" if command else line
        try:
            shlex.split(command, comments=True)
        except ValueError:  # a quote is open
            continue
        if command.endswith("\\"):
            continue
        yield command.replace("\\\n", " ")
        command = ""
    assert not command, f"{command!r} does not end"
