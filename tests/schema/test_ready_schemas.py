"""The schemas that come with the package."""

from pathlib import Path

import pytest

from ucuie.errors import SchemaError
from ucuie.schema import Schema
from ucuie.schema.drafting import check_schema
from ucuie.schema.sources import ready_schemas, title_of

READY = pytest.mark.parametrize("name", ready_schemas())


@READY
def test_ready_schemas_describe_every_name_and_have_a_title(name: str) -> None:
    schema = Schema.of(name)
    assert all(frame.description for frame in schema.frames)
    assert all(slot.description for frame in schema.frames for slot in frame.slots)
    assert title_of(ready_schemas()[name])


@READY
def test_ready_schemas_have_nothing_to_improve(name: str) -> None:
    assert check_schema(name).advice == ()


def test_ready_schemas_are_known_for_what_they_are() -> None:
    assert {name: Schema.of(name).task for name in ready_schemas()} == {
        "biomedical": "EE",
        "contracts": "NER",
        "news": "RE",
        "reviews": "ABSA",
        "security": "EE",
    }


def test_a_file_goes_before_a_ready_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "news").write_text("[headline]")
    assert Schema.of("news").frame_names == ("headline",)


def test_a_path_is_never_a_name() -> None:
    with pytest.raises(SchemaError, match="there is no file 'news'"):
        Schema.of(Path("news"))


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(SchemaError, match="did you mean 'reviews'"):
        Schema.of("review")
