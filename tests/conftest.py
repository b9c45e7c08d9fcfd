import pytest
from hypothesis import settings

# How long one example takes says more about the machine than about the code.
settings.register_profile("ucuie", deadline=None)
settings.load_profile("ucuie")


@pytest.fixture(scope="session")
def needs_embedded_model() -> None:
    from ucuie.errors import ModelError
    from ucuie.model_folder import embedded_model

    try:
        embedded_model()
    except ModelError as error:
        pytest.skip(str(error))
