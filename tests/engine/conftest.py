"""Models that several test modules write with."""

import pytest
from transformers import OlmoConfig
from writing_cases import make_model


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def adapted():
    return make_model(router="soft")


@pytest.fixture(scope="module")
def other():
    """An adapted model of a kind that goes through its own forward."""
    return make_model(router="soft", kind=OlmoConfig)
