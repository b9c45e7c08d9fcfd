"""Models that several test modules write with."""

import pytest
from writing_cases import make_model


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def adapted():
    return make_model(router="soft")
