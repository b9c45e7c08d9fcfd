"""The queue: batches of what waits together, room by number and by time, nothing lost on closing."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from server_cases import Held, held_model

from tiny_model import tiny_model
from ucuie.extract.extractor import Query
from ucuie.extract.options import AnswerOptions
from ucuie.extract.result import Extraction
from ucuie.schema import Schema
from ucuie.server.extractors import Switches
from ucuie.server.text_queue import NotReadyError, QueueFullError, TextQueue

SCHEMAS = [Schema.of(["person"]), Schema.of({"live in": ["subject", "object"]})]


class Batches:
    """Notes the sizes of batches."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def batch_done(self, num_texts: int, num_records: int, seconds: float) -> None:
        self.sizes.append(num_texts)


def query(number: int) -> Query:
    schema = SCHEMAS[number % 2]
    return Query(str(number), f"Ada {number}", schema, schema.task)


def run(test: Callable[[TextQueue, Batches, Held], Awaitable[None]], **options: Any) -> None:
    held, batches = held_model(), Batches()

    async def whole() -> None:
        settings = {"batch_size": 4, "queue_size": 20} | options
        engine = TextQueue(lambda: {"tiny": held.model}, watcher=batches, max_new_tokens=8, **settings)
        await engine.start()
        try:
            await test(engine, batches, held)
        finally:
            held.go.set()
            await engine.close()

    asyncio.run(whole())


async def entered(held: Held) -> None:
    assert await asyncio.to_thread(held.entered.wait, 10)


def ids(answers: list[Any]) -> list[str]:
    assert all(isinstance(answer, Extraction) for answer in answers)
    return [answer.id for answer in answers]


def test_what_waits_together_is_answered_together_and_in_its_place() -> None:
    async def test(engine: TextQueue, batches: Batches, held: Held) -> None:
        asked = [asyncio.create_task(engine.answer([query(0)], Switches()))]
        await entered(held)
        asked += [
            asyncio.create_task(engine.answer([query(number), query(number + 1)], Switches()))
            for number in range(1, 9, 2)
        ]
        await asyncio.sleep(0)
        assert (engine.num_running, engine.num_waiting) == (1, 8)
        held.go.set()
        answers = await asyncio.gather(*asked)
        assert [ids(one) for one in answers] == [["0"], ["1", "2"], ["3", "4"], ["5", "6"], ["7", "8"]]
        assert batches.sizes == [1, 4, 4]

    run(test)


def test_a_text_counts_as_often_as_it_has_answers() -> None:
    async def test(engine: TextQueue, batches: Batches, held: Held) -> None:
        first = asyncio.create_task(engine.answer([query(0)], Switches()))
        await entered(held)
        several = replace(query(1), options=AnswerOptions(n_best=3))
        others = asyncio.create_task(engine.answer([several] * 5, Switches()))
        await asyncio.sleep(0)
        held.go.set()
        assert ids(await first + await others) == ["0", *"11111"]
        assert batches.sizes == [1, 2, 2, 1], "3 + 3 are no fewer than the 4 of a batch"

    run(test)


def test_different_switches_go_into_different_batches_none_overtaken_for_ever() -> None:
    async def test(engine: TextQueue, batches: Batches, held: Held) -> None:
        first = asyncio.create_task(engine.answer([query(0)], Switches()))
        await entered(held)
        judging = Switches(("judging",))
        kinds = [Switches(), judging, Switches(), judging, Switches()]
        asked = [
            asyncio.create_task(engine.answer([query(number)], switches))
            for number, switches in enumerate(kinds, start=1)
        ]
        await asyncio.sleep(0)
        held.go.set()
        assert [ids(one) for one in await asyncio.gather(*asked)] == [["1"], ["2"], ["3"], ["4"], ["5"]]
        assert batches.sizes == [1, 3, 2]
        await first

    run(test)


def test_there_is_room_by_number_and_by_time() -> None:
    async def test(engine: TextQueue, batches: Batches, held: Held) -> None:
        held.go.set()
        await engine.answer([query(0)], Switches())
        with pytest.raises(QueueFullError) as full:
            engine.submit([query(number) for number in range(21)], Switches())
        assert 1 <= full.value.retry_seconds <= 60
        with pytest.raises(QueueFullError):
            # A batch always has room; more only if it would come to its turn in time.
            engine.submit([query(number) for number in range(5)], Switches())
        assert len(await engine.answer([query(number) for number in range(4)], Switches())) == 4

    run(test, wait_seconds=1e-6)


def test_a_request_of_long_texts_takes_turns_with_others() -> None:
    async def test(engine: TextQueue, batches: Batches, held: Held) -> None:
        done: list[str] = []
        order = {"long": query(0), "short": query(1)}
        order["long"] = replace(order["long"], text="Ada lived in London. " * 500)

        async def ask(kind: str, count: int) -> None:
            await engine.answer([order[kind]] * count, Switches())
            done.append(kind)

        long = asyncio.create_task(ask("long", 4))
        await entered(held)
        shorts = [asyncio.create_task(ask("short", 1)) for _ in range(2)]
        await asyncio.sleep(0)
        held.go.set()
        await asyncio.gather(long, *shorts)
        assert done == ["short", "short", "long"]
        assert batches.sizes == [1, 3, 1, 1], "one long text, and what else has room beside another"

    run(test)


def test_endless_newcomers_do_not_starve_a_request() -> None:
    async def test(engine: TextQueue, batches: Batches, held: Held) -> None:
        held.go.set()
        many = asyncio.create_task(engine.answer([query(number) for number in range(10)], Switches()))
        for number in range(100):
            await asyncio.gather(*(engine.answer([query(number)], Switches()) for _ in range(4)))
            if many.done():
                break
        assert many.done()

    run(test)


def test_work_that_nobody_waits_for_ends_within_a_step() -> None:
    async def test(engine: TextQueue, batches: Batches, held: Held) -> None:
        gone = asyncio.create_task(engine.answer([query(number) for number in range(4)], Switches()))
        await entered(held)
        gone.cancel()
        await asyncio.wait([gone])
        held.forwards.clear()
        held.go.set()
        assert ids(await engine.answer([query(5)], Switches())) == ["5"]
        num_after = len(held.forwards)
        held.forwards.clear()
        await engine.answer([query(5)], Switches())
        assert num_after == len(held.forwards) + 1, "the instruction has one, which is kept"

    run(test)


def test_a_cancelled_text_does_not_end_those_beside_it() -> None:
    async def test(engine: TextQueue, batches: Batches, held: Held) -> None:
        first = asyncio.create_task(engine.answer([query(0)], Switches()))
        await entered(held)
        gone, stays = (asyncio.create_task(engine.answer([query(n)], Switches())) for n in (1, 2))
        held.go.set()
        await first
        gone.cancel()
        assert ids(await stays) == ["2"]

    run(test)


def test_a_cancelled_text_gives_its_place_up() -> None:
    async def test(engine: TextQueue, batches: Batches, held: Held) -> None:
        first = asyncio.create_task(engine.answer([query(0)], Switches()))
        await entered(held)
        gone = asyncio.create_task(engine.answer([query(number) for number in range(1, 21)], Switches()))
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            engine.check_room()
        gone.cancel()
        await asyncio.wait([gone])
        engine.check_room(20)
        held.go.set()
        await first
        assert batches.sizes == [1]

    run(test)


def test_closing_answers_what_waits_and_takes_no_more() -> None:
    async def test(engine: TextQueue, batches: Batches, held: Held) -> None:
        asked = [asyncio.create_task(engine.answer([query(number)], Switches())) for number in range(10)]
        await entered(held)
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0)
        with pytest.raises(NotReadyError, match="stopping"):
            engine.submit([query(0)], Switches())
        held.go.set()
        assert [ids(one) for one in await asyncio.gather(*asked)] == [[str(number)] for number in range(10)]
        await closing

    run(test)


def test_a_stream_is_answered_as_it_goes_and_takes_no_more_than_a_batch_of_places() -> None:
    async def test(engine: TextQueue, batches: Batches, held: Held) -> None:
        held.go.set()
        most = 0
        found = []
        async for answer in engine.stream(map(query, range(30)), Switches(), seconds=30):
            most = max(most, engine.num_waiting + engine.num_running)
            found.append(answer)
        assert ids(found) == [str(number) for number in range(30)]
        assert most <= 4

    run(test)


def test_an_engine_that_was_never_started_is_not_ready_and_closes() -> None:
    async def whole() -> None:
        engine = TextQueue(lambda: {"tiny": tiny_model()}, batch_size=1, queue_size=1)
        with pytest.raises(NotReadyError, match="not loaded yet"):
            engine.submit([query(0)], Switches())
        await engine.close()
        assert not engine.is_alive

    asyncio.run(whole())
