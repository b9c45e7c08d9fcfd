"""What the server makes of the engine's speed: many clients at once, every answer checked.

In: how many clients, for how long. Out: texts per second over HTTP and in process, status codes, answers that
belonged to another request, memory of the server, and how soon it is ready. The server is the real command in
a process of its own.
"""

import asyncio
import itertools
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

import httpx

from ucuie.lab.bench.options import ServeOptions
from ucuie.server.schemas import NamedSchema, NamedSchemas

_STOP_SECONDS = 90.0
_REQUEST_SECONDS = 120.0
_NUM_OVERFLOWING = 400
"""Requests at once, more than the queue holds."""
_SAMPLE_SECONDS = 1.0
_PEOPLE = ("Maria Okafor", "Daniel Novak", "Aiko Tanaka", "Lucas Meyer", "Priya Raman", "Ada Lovelace")
_PLACES = ("Cologne", "Lisbon", "Osaka", "Vienna", "Nairobi", "Washington")


@dataclass(frozen=True)
class Server:
    """A server under test."""

    process: subprocess.Popen[str]
    address: str
    ready_seconds: float


@dataclass
class Tally:
    """The answers that clients got, in counts."""

    statuses: Counter[str] = field(default_factory=Counter)
    num_in_time: int = 0
    """Answers before the load ended; those that were under way then are waited for, and checked too."""
    last_in_time: float = 0.0
    """When the last of them came: answers come in batches, and what is under way at the end is none yet."""
    num_wrong: int = 0
    latencies_seconds: list[float] = field(default_factory=list)


Question = tuple[str, str, NamedSchema]
"""An id, a text and what to look for."""


def _questions(seed: int) -> Iterator[Question]:
    """Texts that differ from each other, each with one of the schemas of the server."""
    generator = random.Random(seed)
    schemas = [named for named in NamedSchemas().all() if named.text]
    for count in itertools.count(1):
        named = generator.choice(schemas)
        person, place = generator.choice(_PEOPLE), generator.choice(_PLACES)
        number = generator.randrange(10**9)
        text = f"{named.text} Case {number} was reported by {person} from {place}."
        yield f"{count}-{number}", text, named


@contextmanager
def running_server(*options: str, port: int = 0) -> Iterator[Server]:
    """`ucuie serve` with these options, once it is ready; it is stopped as an operator would stop it."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "ucuie", "serve", "--quiet", "--port", str(port), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            if not address:
                raise RuntimeError(f"the server ended with exit code {process.wait()}")
            yield Server(process, address, time.perf_counter() - start)
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)


def bench_serve(options: ServeOptions) -> dict[str, Any]:
    """Load a server, overload it, kill it, and compare it with the extractor alone.

    The extractor alone gets half of the seconds. The server is ready once at first and once after the kill.
    """
    asked = () if options.model is None else ("--model", options.model)
    tally = Tally()
    with running_server(*asked) as server:
        first_ready = server.ready_seconds
        start = time.perf_counter()
        memory, texts_per_batch = asyncio.run(_load(server.address, options, tally))
        overflow = asyncio.run(_overflow(server.address, tally))
        server.process.kill()
        server.process.wait()
    with running_server(*asked) as server:
        again_ready = server.ready_seconds
    rate = tally.num_in_time / (tally.last_in_time - start)
    alone = _in_process(options)
    return {
        "texts_per_second": round(rate, 2),
        "in_process_texts_per_second": round(alone, 2),
        "http_over_in_process": round(rate / alone, 3),
        "texts_per_batch": round(texts_per_batch, 1),
        "statuses": dict(tally.statuses),
        "num_wrong": tally.num_wrong,
        "overflow_statuses": dict(overflow),
        "median_seconds": round(median(tally.latencies_seconds), 3),
        "p95_seconds": round(quantiles(tally.latencies_seconds, n=20)[-1], 3),
        "memory_mib_first": round(memory[0] / 2**20),
        "memory_mib_half": round(memory[len(memory) // 2] / 2**20),
        "memory_mib_last": round(memory[-1] / 2**20),
        "ready_seconds": round(first_ready, 2),
        "ready_again_seconds": round(again_ready, 2),
        "clients": options.num_clients,
        "seconds": options.seconds,
    }


def _connections(address: str, count: int) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=count)
    return httpx.AsyncClient(base_url=address, timeout=_REQUEST_SECONDS, limits=limits)


async def _load(address: str, options: ServeOptions, tally: Tally) -> tuple[list[float], float]:
    """Clients that ask without pause; the server's memory over time, in bytes, and its texts per batch."""
    end = time.perf_counter() + options.seconds
    async with _connections(address, options.num_clients + 1) as http:

        async def ask_again_and_again(seed: int) -> None:
            questions = _questions(seed)
            while time.perf_counter() < end:
                await _ask(http, next(questions), tally)
                if (now := time.perf_counter()) < end:
                    tally.num_in_time += 1
                    tally.last_in_time = now

        clients = [asyncio.create_task(ask_again_and_again(seed)) for seed in range(options.num_clients)]
        memory = []
        while time.perf_counter() < end:
            memory.append((await _metrics(http))["process_resident_memory_bytes"])
            await asyncio.sleep(_SAMPLE_SECONDS)
        await asyncio.gather(*clients)
        metrics = await _metrics(http)
        return memory, metrics["ucuie_batch_texts_sum"] / metrics["ucuie_batch_texts_count"]


async def _ask(http: httpx.AsyncClient, question: Question, tally: Tally) -> None:
    text_id, text, named = question
    message = {"texts": [{"id": text_id, "text": text}], "schema": named.name}
    start = time.perf_counter()
    response = await http.post("/v1/extract", json=message)
    tally.statuses[str(response.status_code)] += 1
    if response.status_code == httpx.codes.OK:
        tally.latencies_seconds.append(time.perf_counter() - start)
        tally.num_wrong += not _is_answer(response.json(), question)


def _is_answer(answer: dict[str, Any], question: Question) -> bool:
    """Tell whether an answer is that of this text: its id, its text, its spans and its schema."""
    text_id, text, named = question
    (extraction,) = answer["extractions"]
    fillers = [
        filler
        for record in extraction["records"]
        for filler in (record["filler"], *(slot["filler"] for slot in record["slots"]))
        if filler is not None
    ]
    return (
        extraction["id"] == text_id
        and extraction["text"] == text
        and all(text[filler["start"] : filler["end"]] == filler["text"] for filler in fillers)
        and all(record["frame"] in named.schema for record in extraction["records"])
    )


async def _overflow(address: str, tally: Tally) -> Counter[str]:
    """More requests at once than the queue holds; wrong answers among them go into the tally."""
    overflow = Tally()
    async with _connections(address, _NUM_OVERFLOWING) as http:
        asked = itertools.islice(_questions(0), _NUM_OVERFLOWING)
        await asyncio.gather(*(_ask(http, question, overflow) for question in asked))
    tally.num_wrong += overflow.num_wrong
    return overflow.statuses


async def _metrics(http: httpx.AsyncClient) -> dict[str, float]:
    """The server's numbers that have no labels."""
    lines = map(str.split, (await http.get("/metrics")).text.splitlines())
    return {parts[0]: float(parts[1]) for parts in lines if len(parts) == 2 and parts[0] != "#"}


def _in_process(options: ServeOptions) -> float:
    """Texts per second of the extractor alone, with as many texts at a time as there are clients."""
    from ucuie.extract.extractor import Extractor, Query

    extractor = Extractor.from_pretrained(options.model)
    questions = _questions(0)

    def answer() -> int:
        asked = itertools.islice(questions, options.num_clients)
        queries = [Query(text_id, text, named.schema, named.schema.task) for text_id, text, named in asked]
        return len(list(extractor.answer(queries)))

    # The first batch computes the instructions, as the server's first ones do.
    answer()
    num_texts = 0
    start = time.perf_counter()
    while (passed := time.perf_counter() - start) < options.seconds / 2:
        num_texts += answer()
    return num_texts / passed
