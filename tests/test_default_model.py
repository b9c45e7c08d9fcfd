"""The model that is taken where none is named: fetched like a user's, and what README says it answers."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from page_cases import blocks
from ucuie import demo
from ucuie.demo import TEXTS
from ucuie.extractor import Extractor
from ucuie.model_source import DEFAULT_NAME

pytestmark = pytest.mark.slow

USERS_CACHE = os.environ.get("UCUIE_CACHE")


@pytest.fixture(scope="module", autouse=True)
def users_cache(cache_of_its_own: None, embedded_model_is_the_default: None) -> Iterator[None]:
    """The cache of the person who runs the tests, so that a backbone is fetched once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("UCUIE_MODEL")
        patch.delenv("UCUIE_CACHE")
        if USERS_CACHE is not None:
            patch.setenv("UCUIE_CACHE", USERS_CACHE)
        yield


@pytest.fixture(scope="module")
def extractor(users_cache: None) -> Extractor:
    return Extractor.from_pretrained()


def test_it_finds_something_in_every_text_of_the_demo(extractor: Extractor) -> None:
    assert extractor.model_name == DEFAULT_NAME
    for text in TEXTS:
        result = extractor.extract(text.text, text.schema)
        assert result.records, text.id
        for record in result.records:
            for filler in record.fillers():
                assert text.text[filler.start : filler.end] == filler.text


def test_the_demo_prints_what_the_readme_shows(
    extractor: Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert demo.main() == 0
    printed = capsys.readouterr().out.splitlines()
    (shown,) = (block.content for block in blocks("README.md") if block.language == "text")
    # The first line says how long it took to load.
    assert printed[1:] == shown.splitlines()[1:]
    assert printed[0].partition(",")[0] == shown.partition(",")[0]
