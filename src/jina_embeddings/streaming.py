"""Unending inputs in, vectors out: in order, a bounded number in memory, reading ahead of the engine."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

_FIRST_CHUNK = 8
_DEPTH = 2
_MAX_WAIT_S = 0.02
_END = object()


def stream_in_order(items: Iterable[Any], encode: Callable[[list[Any]], list[Any]], chunk_size: int) -> Iterator[Any]:
    """Results of `encode` over chunks of `items`, one for each item, in order.

    Two chunks are under way at a time; the first ones are small, so that results start early. When
    `items` or `encode` fails, the results before it are given first. Closing the iterator stops reading.
    """
    source = iter(items)
    failure: Exception | None = None
    size = min(_FIRST_CHUNK, chunk_size)
    pending: deque[Future[list[Any]]] = deque()
    with ThreadPoolExecutor(_DEPTH, thread_name_prefix="jina-embeddings-stream") as executor:
        try:
            while True:
                while len(pending) < _DEPTH and failure is None:
                    chunk: list[Any] = []
                    try:
                        chunk.extend(islice(source, size))
                    except Exception as error:
                        failure = error
                    if not chunk:
                        break
                    pending.append(executor.submit(encode, chunk))
                    size = min(2 * size, chunk_size)
                if not pending:
                    break
                yield from pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
    if failure is not None:
        raise failure


async def astream_in_order(
    items: AsyncIterable[Any], encode: Callable[[list[Any]], Awaitable[list[Any]]], chunk_size: int
) -> AsyncIterator[Any]:
    """The same over an async iterable; a chunk goes off when it is full or its source pauses."""
    chunks: asyncio.Queue[Any] = asyncio.Queue(_DEPTH)
    running: set[asyncio.Task[Any]] = set()

    async def read() -> None:
        try:
            async for chunk in _chunks(items, chunk_size):
                task = asyncio.ensure_future(encode(chunk))
                running.add(task)
                await chunks.put(task)
            await chunks.put(_END)
        except Exception as error:
            await chunks.put(error)

    reader = asyncio.ensure_future(read())
    try:
        while (task := await chunks.get()) is not _END:
            if isinstance(task, Exception):
                raise task
            for result in await task:
                yield result
            running.discard(task)
    finally:
        for task in (reader, *running):
            task.cancel()
        await asyncio.gather(reader, *running, return_exceptions=True)


async def _chunks(items: AsyncIterable[Any], size: int) -> AsyncIterator[list[Any]]:
    iterator = aiter(items)
    upcoming: asyncio.Future[Any] | None = None
    chunk: list[Any] = []
    failure: Exception | None = None
    try:
        while failure is None:
            upcoming = upcoming or asyncio.ensure_future(_next(iterator))
            if chunk and not (await asyncio.wait({upcoming}, timeout=_MAX_WAIT_S))[0]:
                yield chunk
                chunk = []
            try:
                item = await upcoming
            except Exception as error:
                failure = error
                break
            upcoming = None
            if item is _END:
                break
            chunk.append(item)
            if len(chunk) == size:
                yield chunk
                chunk = []
        if chunk:
            yield chunk
        if failure is not None:
            raise failure
    finally:
        if upcoming is not None:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)


async def _next(iterator: AsyncIterator[Any]) -> Any:
    return await anext(iterator, _END)
