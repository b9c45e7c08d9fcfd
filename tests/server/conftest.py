from collections.abc import Iterator

import httpx
import pytest
from server_cases import Running, running


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    """One for all tests that leave it as it is."""
    with running() as one:
        yield one


@pytest.fixture
def client(server: Running) -> httpx.Client:
    return server.client
