"""Every program and command in README and `docs/` is run, page by page, in the order of a reader."""

import importlib
import re
from collections import Counter
from pathlib import Path

import pytest

import ucuie
from page_cases import GIVEN, LANGUAGES, REASONS, ROOT, Block, PageRun, blocks, given, pages, read_page

PAGES = pages()
LINK = re.compile(r"\]\(([^)\s]+)\)")
RUNNABLE = ("bash", "python")
# Made by the documentation site from other things than pages.
GENERATED = {"command.md", "training.md", "model-card.md", "pretraining.md", "log.md"}


def runnable(page: str) -> list[bool]:
    """For each program or set of commands whether it is run."""
    return [block.reason is None for block in blocks(page) if block.language in RUNNABLE]


@pytest.fixture(scope="module")
def entry_points() -> None:
    """What spaCy finds by itself where the package is installed; tests may run from the sources alone."""
    importlib.import_module("ucuie.integrations.spacy_component")


@pytest.mark.slow
@pytest.mark.usefixtures("needs_embedded_model", "entry_points")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.long if page == "docs/scale.md" else ())
        for page in PAGES
        if any(runnable(page))
    ],
)
def test_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    with PageRun(page, tmp_path) as reader:
        for block in blocks(page):
            reader.run(block)
    assert reader.num_run >= runnable(page).count(True) > 0


@pytest.mark.parametrize(
    ("language", "content", "message"),
    [
        ("python", "1 / 0\n", "division by zero"),
        ("bash", "ucuie schema list\nucuie schema show nonsense\n", "no ready schema 'nonsense'"),
        ("bash", "true | exit 3\n", "exit 3"),
        ("bash", "curl http://127.0.0.1:8000/healthz\n", "was not started"),
        ("json", "{not json}\n", "property name"),
    ],
)
def test_a_block_that_fails_is_told(
    language: str, content: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with PageRun("docs/index.md", tmp_path) as reader:
        reader.run(Block(language, None, "takes hours", content))
        assert reader.num_run == 0
        with pytest.raises((AssertionError, ValueError, ZeroDivisionError), match=message):
            reader.run(Block(language, None, None, content))


@pytest.mark.parametrize("page", PAGES)
def test_blocks_say_what_they_are(page: str) -> None:
    fences = [line for line in read_page(page).splitlines() if line.lstrip().startswith("```")]
    assert len(fences) == 2 * len(blocks(page)), "a block is indented or has no end"
    assert {block.language for block in blocks(page)} <= LANGUAGES
    assert {block.reason for block in blocks(page)} - {None} <= REASONS
    assert set(given(page)) <= GIVEN.keys()
    marks = re.findall(r"^<!-- not run:", read_page(page), re.MULTILINE)
    assert len(marks) == sum(block.reason is not None for block in blocks(page)), "a mark has no block"


def test_nearly_all_blocks_are_run() -> None:
    counts = Counter(is_run for page in PAGES for is_run in runnable(page))
    assert counts[True] >= 60
    assert counts[False] <= counts.total() // 5


@pytest.mark.parametrize("page", PAGES)
def test_linked_files_are_there(page: str) -> None:
    for target in LINK.findall(read_page(page)):
        path, _, _ = target.partition("#")
        is_file = not path or (ROOT / page).parent.joinpath(path).exists()
        assert target.startswith(("https://", "http://")) or Path(path).name in GENERATED or is_file, target


def test_every_public_name_is_in_the_reference() -> None:
    reference = "".join(read_page(page) for page in PAGES if page.startswith("docs/reference/"))
    named = set(re.findall(r"^::: ucuie(?:\.\w+)*\.(\w+)$", reference, re.MULTILINE))
    assert set(ucuie.__all__) - {"__version__"} <= named
