"""Servers on real sockets with a tiny random model, in a thread of the tests."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from tiny_model import tiny_model
from ucuie.model.folder import LoadedModel
from ucuie.model.info import ModelInfo
from ucuie.server.app import create_app
from ucuie.server.observer import Metrics
from ucuie.server.schemas import NamedSchemas
from ucuie.server.serve import address_of, listen, make_server
from ucuie.server.settings import ServerSettings, make_settings
from ucuie.server.text_queue import TextQueue


def standing_model(**values: float) -> LoadedModel:
    """The same with an operating point in its `ucuie.json`."""
    facts = dict.fromkeys(("backbone_fingerprint", "tokenizer_sha256", "instruction_pool_hash"), "")
    info = ModelInfo(backbone="backbone", num_parameters=1, **facts, **values)
    return replace(tiny_model(), info=info)


@dataclass(frozen=True)
class Held:
    """A model whose forward passes wait until they are let go."""

    model: LoadedModel
    go: threading.Event
    entered: threading.Event
    forwards: list[None]


def held_model() -> Held:
    held = Held(tiny_model(), threading.Event(), threading.Event(), [])

    def wait(*_: object) -> None:
        held.forwards.append(None)
        held.entered.set()
        assert held.go.wait(120)

    held.model.model.get_input_embeddings().register_forward_pre_hook(wait)
    return held


@dataclass(frozen=True)
class Running:
    address: str
    client: httpx.Client
    engine: TextQueue
    settings: ServerSettings

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


def by_name(loaded: LoadedModel | dict[str, LoadedModel]) -> dict[str, LoadedModel]:
    return loaded if isinstance(loaded, dict) else {loaded.name: loaded}


@contextmanager
def running(
    load: Callable[[], LoadedModel | dict[str, LoadedModel]] = tiny_model,
    *,
    schemas: Path | None = None,
    wait: bool = True,
    **values: object,
) -> Iterator[Running]:
    settings = make_settings(**values)
    metrics = Metrics()
    engine = TextQueue(
        lambda: by_name(load()),
        batch_size=settings.batch_size,
        queue_size=settings.queue_size,
        watcher=metrics,
        max_new_tokens=24,
    )
    app = create_app(engine, settings, metrics=metrics, schemas=NamedSchemas(schemas))
    listener = listen(settings.host, 0)
    server = make_server(app, settings)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    address = address_of(listener)
    with httpx.Client(base_url=address, timeout=30) as client:
        try:
            deadline = time.monotonic() + 60
            while wait and client.get("/readyz").status_code != 200:
                assert time.monotonic() < deadline, "the server did not become ready"
                time.sleep(0.01)
            yield Running(address, client, engine, settings)
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()
