"""The model and the backbone that the package names, fetched and asked as a user would."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from page_cases import blocks
from ucuie.cli import demo
from ucuie.cli.demo import TEXTS
from ucuie.extract.extractor import Extractor
from ucuie.model.backbone import backbone_fingerprint, tokenizer_sha256
from ucuie.model.folder import load_backbone
from ucuie.model.source import DEFAULT_NAME
from ucuie.train.estimate import backbone_shape, recipe_shapes

pytestmark = pytest.mark.long

BACKBONE = "smollm2-135m-instruct"
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


def test_the_default_model_finds_something_in_every_text_of_the_demo() -> None:
    extractor = Extractor.from_pretrained()
    assert extractor.model_name == DEFAULT_NAME
    for text in TEXTS:
        result = extractor.extract(text.text, text.schema)
        assert result.records, text.id
        for record in result.records:
            for filler in record.fillers():
                assert text.text[filler.start : filler.end] == filler.text


def test_the_demo_prints_what_the_readme_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert demo.main() == 0
    printed = capsys.readouterr().out.splitlines()
    (shown,) = (block.content for block in blocks("README.md") if block.language == "text")
    # The first line says how long it took to load.
    assert [line.rstrip() for line in printed[1:]] == shown.splitlines()[1:]
    assert printed[0].partition(",")[0] == shown.partition(",")[0]


def test_the_known_backbone_is_the_one_that_adapters_are_trained_on() -> None:
    backbone = load_backbone(BACKBONE)
    fingerprint = "5105cac40b205e5c7a952e54252134ef9ef1241ac037fe16d656138cab113541"
    assert backbone_fingerprint(backbone.model) == fingerprint
    tokenizer = "cb5035e91ae8b3c44fcd75d0f24477221baa844c72229bbad357c8536dc1e90c"
    assert tokenizer_sha256(backbone.tokenizer) == tokenizer
    assert backbone.model.num_parameters() == 134_515_008


def test_its_shape_is_known_without_its_weights() -> None:
    found, expected = backbone_shape(BACKBONE), recipe_shapes()["smollm2-135m"]
    for name in (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_key_value_heads",
        "vocab_size",
    ):
        assert getattr(found, name) == getattr(expected, name)
