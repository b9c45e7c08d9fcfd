"""Where requests run: an event loop in a thread of its own, and the connections that belong to it.

The caller waits, or goes on with what is finished. What is asked is not known here.
"""

import asyncio
import sys
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import httpx

from ucuie.extract.remote.client import ChatClient, Messages, Reply

_T = TypeVar("_T")


@dataclass(frozen=True)
class Session:
    """Open connections to an endpoint, and who may use them when.

    Args:
        client: speaks with the endpoint.
        http: the connections.
        turns: one for each request about a text that may be under way; whoever asks has one.
        probing: held by whoever finds out about the endpoint what the others wait for.
    """

    client: ChatClient
    http: httpx.AsyncClient
    turns: asyncio.Semaphore
    probing: asyncio.Lock

    async def ask(
        self, messages: Messages, fields: Mapping[str, Any], *, max_attempts: int | None = None
    ) -> Reply:
        """The answer to some messages; raises as `ChatClient.ask`."""
        return await self.client.ask(self.http, messages, fields, max_attempts=max_attempts)

    async def close(self) -> None:
        """Cancels whatever else runs, and closes the connections."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        # Of answers that were left before their end.
        await asyncio.get_running_loop().shutdown_asyncgens()
        await self.http.aclose()


@contextmanager
def requests(client: ChatClient) -> Iterator[Callable[..., Future[Any]]]:
    """A starter of coroutines that make requests, given a session; what is left at the end is cancelled."""
    # A loop in a thread of its own: where the caller is, as in a notebook, one may be running.
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="ucuie-remote", daemon=True)
    thread.start()

    def submit(work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, loop)

    session = Session(client, client.open(), asyncio.Semaphore(client.num_concurrent), asyncio.Lock())
    try:
        yield lambda work, *arguments: submit(work(session, *arguments))
    finally:
        # A stream that nobody read to its end may be closed when the interpreter ends; then the loop's thread
        # has been stopped already, and waiting for it would be for ever.
        if not sys.is_finalizing():
            submit(session.close()).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def in_order(work: Iterator[Coroutine[Any, Any, _T]], num_concurrent: int) -> AsyncGenerator[_T]:
    """The results of coroutines in their order, so many under way; what is left at the end is cancelled."""
    running: deque[asyncio.Task[_T]] = deque()
    try:
        while True:
            running.extend(map(asyncio.create_task, islice(work, num_concurrent - len(running))))
            if not running:
                return
            yield await running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
