"""The documentation site: it builds without a warning, and loads nothing from elsewhere."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
STYLE_URL = re.compile(r"(?:url\(|@import)\s*[\"']?\s*((?:https?:)?//[^)\"']+)")


class Assets(HTMLParser):
    """The addresses that a browser loads by itself; links of text are none."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = () if tag == "a" else ("src", "srcset", "data", "poster", "href", "xlink:href")
        self.addresses += [value for name, value in attrs if name in names and value]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("mkdocs") is None or find_spec("mkdocstrings") is None:
        pytest.skip("the group docs is not installed; `make docs` installs it")
    folder = tmp_path_factory.mktemp("site")
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ
        | {
            "NO_MKDOCS_2_WARNING": "1",
            "http_proxy": "http://127.0.0.1:9",
            "https_proxy": "http://127.0.0.1:9",
        },
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    html = list(site.rglob("*.html"))
    assert len(html) > 20
    for page in html:
        assets = Assets()
        assets.feed(page.read_text("utf-8"))
        assert assets.addresses
        assert [one for one in assets.addresses if re.match(r"(https?:)?//", one)] == [], page
    for style in site.rglob("*.css"):
        assert STYLE_URL.findall(style.read_text("utf-8")) == [], style


def test_reference_has_docstrings_commands_and_settings(site: Path) -> None:
    reference = site / "reference"
    assert "The records of one text." in (reference / "python.html").read_text("utf-8")
    assert "--end-bias" in (reference / "command.html").read_text("utf-8")
    assert "multitask.learning_rate" in (reference / "training.html").read_text("utf-8")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
def test_search_works_from_the_disk_and_asks_nobody(site: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "index.html").as_uri())
        page.locator("[data-md-component=search-query]").fill("thresholds")
        result = page.locator(".md-search-result__link", has_text="Scores, thresholds, reasons").first
        result.wait_for(state="attached")
        browser.close()
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))] == []
