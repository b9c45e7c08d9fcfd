from collections.abc import Iterator

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
