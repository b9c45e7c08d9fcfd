"""Threads that share a model get the answers that each would get alone, bit by bit."""

import copy
import pickle
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tiny_model import tiny_model
from ucuie import Extractor
from ucuie.errors import ConfigError
from ucuie.extract.result import Extraction

SCHEMAS: list[Any] = [
    ["person", "city"],
    ["location"],
    {"live in": ["subject", "object"]},
    {"Speech": ["Speaker", "Place"], "Attack": []},
]
TEXTS = ["Ada lived in London.", "Bob met Cy in Oslo.", "naïve 東京 🙂", "The train left Rome."]
NUM_THREADS = 8


def questions(seed: int) -> list[tuple[list[str], Any, dict[str, Any]]]:
    chance = random.Random(seed)
    return [
        (
            chance.sample(TEXTS, chance.randint(1, 3)),
            chance.choice(SCHEMAS),
            {
                "end_bias": chance.choice([0.0, -2.0, 3.0]),
                "n_best": chance.choice([1, 1, 3]),
                "threshold": chance.choice([0.0, 0.3]),
                "explain": chance.choice([False, True]),
            },
        )
        for _ in range(3)
    ]


def answers(extractor: Extractor, seed: int) -> list[dict[str, Any]]:
    return [
        without_time(extraction)
        for texts, schema, options in questions(seed)
        for extraction in extractor.extract_batch(texts, schema, **options)
    ]


def without_time(extraction: Extraction) -> dict[str, Any]:
    return extraction.to_dict() | {"seconds": 0}


def one_extractor() -> Callable[[int], Extractor]:
    extractor = Extractor(tiny_model(), max_new_tokens=24)
    return lambda _: extractor


def one_model() -> Callable[[int], Extractor]:
    loaded = tiny_model()
    chosen = [None, ["judging"], ["locating", "associating"]]
    extractors = [Extractor(loaded, capabilities=some, max_new_tokens=24) for some in chosen]
    return lambda seed: extractors[seed % len(extractors)]


@pytest.mark.parametrize("shared", [one_extractor, one_model])
def test_threads_answer_as_one_thread_does(shared: Callable[[], Callable[[int], Extractor]]) -> None:
    extractor_of = shared()
    alone = [answers(extractor_of(seed), seed) for seed in range(NUM_THREADS)]
    start = threading.Barrier(NUM_THREADS)

    def work(seed: int) -> list[dict[str, Any]]:
        start.wait()
        return answers(extractor_of(seed), seed)

    with ThreadPoolExecutor(NUM_THREADS) as pool:
        assert list(pool.map(work, range(NUM_THREADS))) == alone


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_an_extractor_says_why_it_is_not_pickled(duplicate: Callable[[Extractor], object]) -> None:
    with pytest.raises(ConfigError, match="let each process make its own"):
        duplicate(Extractor(tiny_model()))
