from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# How long one example takes says more about the machine than about the code.
settings.register_profile("ucuie", deadline=None)
settings.load_profile("ucuie")


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UCUIE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def embedded_model_is_the_default() -> Iterator[None]:
    """Tests that name no model take the one that is small and fast; `test_released` takes the other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UCUIE_MODEL", "ucuie-mini")
        yield


@pytest.fixture(scope="session")
def needs_embedded_model() -> None:
    """The model ships with the package: without it a test fails, it is not skipped."""
    from ucuie.model.folder import embedded_model

    embedded_model()


# Folders that tests read and do not change. Modules that load torch are imported where they are used.
@pytest.fixture(scope="session")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Hugging Face model."""
    from tiny_model import save_plain

    return save_plain(tmp_path_factory.mktemp("models") / "plain")


@pytest.fixture(scope="session")
def adapted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model folder with its backbone in it."""
    from tiny_model import save_adapted

    return save_adapted(tmp_path_factory.mktemp("models") / "tiny")
