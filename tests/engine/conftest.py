"""Models that several test modules write with."""

import pytest
from peft import PeftModel
from transformers import OlmoConfig, PreTrainedModel
from writing_cases import make_model


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return make_model()


@pytest.fixture(scope="module")
def adapted() -> PeftModel:
    return make_model(router="soft")


@pytest.fixture(scope="module")
def other() -> PeftModel:
    """An adapted model of a kind that goes through its own forward."""
    return make_model(router="soft", kind=OlmoConfig)
