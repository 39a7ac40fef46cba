"""Sources and encoders for tests of streams, which count what is read and what runs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any

from jina_embeddings.errors import InputError

PATIENCE_S = 5
"""How long tests wait for something that should happen at once."""


class SourceError(Exception):
    """The exception that sources of these tests raise."""


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """`asyncio.run` with a timeout."""

    async def limited() -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await main()

    return asyncio.run(limited())


class Counter:
    """An endless source, sync or async, that counts how many items were read."""

    def __init__(self, error_at: int | None = None, pause_s: float = 0):
        self.num_read = 0
        self.error_at = error_at
        self.pause_s = pause_s

    def __iter__(self) -> Iterator[int]:
        while self.num_read != self.error_at:
            self.num_read += 1
            yield self.num_read - 1
        raise SourceError(f"after {self.error_at}")

    async def __aiter__(self) -> AsyncIterator[int]:
        for item in self:
            await asyncio.sleep(self.pause_s)
            yield item


async def later(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        await asyncio.sleep(0)
        yield item


class Encoder:
    """An `encode` that doubles numbers. It records its chunks and how many ran at a time, and can fail."""

    def __init__(self, fail_at: int | None = None, time_s: float = 0.0):
        self.fail_at = fail_at
        self.time_s = time_s
        self.chunks: list[list[int]] = []
        self.most_at_once = 0
        self.num_unfinished = 0
        self._lock = threading.Lock()

    def _start(self, chunk: list[int]) -> None:
        with self._lock:
            self.chunks.append(chunk)
            self.num_unfinished += 1
            self.most_at_once = max(self.most_at_once, self.num_unfinished)

    def _finish(self, chunk: list[int]) -> list[int]:
        with self._lock:
            self.num_unfinished -= 1
        if self.fail_at in chunk:
            raise InputError(f"number {self.fail_at}")
        return [2 * number for number in chunk]

    def __call__(self, chunk: list[int]) -> list[int]:
        self._start(chunk)
        time.sleep(self.time_s)
        return self._finish(chunk)

    async def later(self, chunk: list[int]) -> list[int]:
        self._start(chunk)
        await asyncio.sleep(self.time_s)
        return self._finish(chunk)


def stream_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("jina-embeddings-stream")]


def other_tasks() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


async def take(results: AsyncIterator[Any], taken: list[Any]) -> None:
    """Appends all results to `taken`, also those before an error."""
    async for result in results:
        taken += [result]


def texts(num_texts: int) -> list[str]:
    return [f"text {number}" for number in range(num_texts)]
