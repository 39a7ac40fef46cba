"""Streams: one result for each input of an iterable that may never end, in order and in bounded memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, closing
from dataclasses import replace
from itertools import islice
from typing import Any

from ..errors import EngineDeadError, InputError, OptionError
from ..types import Both, Partial, Skipped
from .job import check_on_error
from .options import EncodeOptions, OnError
from .request import check_count
from .run import Result

# Inputs of the first chunk; each next chunk has twice as many, up to the chunk size.
_FIRST_CHUNK_INPUTS = 8
# Chunks in progress at a time: one is prepared while the other runs.
_MAX_CHUNKS = 2
# An asyncio stream sends a chunk that isn't full once its first input has waited this long.
_MAX_WAIT_S = 0.02
# Marks the end of an iterator.
_END = object()


def stream_in_order(
    items: Iterable[Any], encode: Callable[[list[Any]], list[Any]], chunk_size: int
) -> Generator[Any, None, None]:
    """Runs `encode` on chunks of `items` and yields one result for each item, in order.

    Two chunks are in progress at a time; the first ones are small, so that results start early. If `items` or `encode`
    raises, the results before that are yielded first. Closing the generator stops reading.
    """
    source = iter(items)
    failure: Exception | None = None
    size = min(_FIRST_CHUNK_INPUTS, chunk_size)
    pending: deque[Future[list[Any]]] = deque()
    with ThreadPoolExecutor(_MAX_CHUNKS, thread_name_prefix="jina-embeddings-stream") as executor:
        try:
            while True:
                while len(pending) < _MAX_CHUNKS and failure is None:
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
) -> AsyncGenerator[Any, None]:
    """`stream_in_order` for an async iterable; a chunk runs when it is full or its first item waited `_MAX_WAIT_S`."""
    chunks: asyncio.Queue[Any] = asyncio.Queue()
    slots = asyncio.Semaphore(_MAX_CHUNKS)
    running: set[asyncio.Future[list[Any]]] = set()

    async def read() -> None:
        end: object = _END
        try:
            async with aclosing(_chunks(items, chunk_size)) as source:
                async for chunk in source:
                    await slots.acquire()
                    task = asyncio.ensure_future(encode(chunk))
                    running.add(task)
                    chunks.put_nowait(task)
        except BaseException as error:
            end = error
        chunks.put_nowait(end)

    reader = asyncio.ensure_future(read())
    try:
        while (task := await chunks.get()) is not _END:
            if isinstance(task, BaseException):
                raise task
            for result in await task:
                yield result
            running.discard(task)
            slots.release()
    finally:
        unfinished: list[asyncio.Future[Any]] = [reader, *running]
        for future in unfinished:
            future.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)


async def _chunks(items: AsyncIterable[Any], size: int) -> AsyncGenerator[list[Any], None]:
    """Lists of up to `size` items. If the source fails or is cancelled, the items before that are yielded first."""
    loop = asyncio.get_running_loop()
    iterator = aiter(items)
    upcoming: asyncio.Future[Any] | None = None
    chunk: list[Any] = []
    deadline = 0.0
    failure: BaseException | None = None
    try:
        while True:
            upcoming = upcoming or asyncio.ensure_future(_next(iterator))
            if chunk and not (await asyncio.wait({upcoming}, timeout=max(0, deadline - loop.time())))[0]:
                yield chunk
                chunk = []
            await asyncio.wait({upcoming})
            if upcoming.cancelled():
                failure = asyncio.CancelledError()
            else:
                failure = upcoming.exception()
            if failure is not None or (item := upcoming.result()) is _END:
                break
            upcoming = None
            chunk.append(item)
            if len(chunk) == 1:
                deadline = loop.time() + _MAX_WAIT_S
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
        if hasattr(iterator, "aclose"):
            await iterator.aclose()


async def _next(iterator: AsyncIterator[Any]) -> Any:
    return await anext(iterator, _END)


def stream(
    inputs: Iterable[Any],
    encode: Callable[[list[Any]], Result],
    chunk_size: int,
    on_error: OnError,
    tell: Callable[[int, Result], object],
) -> Generator[Any, None, None]:
    """`JinaEmbeddings.stream`.

    encode: embeds a chunk, skipping bad inputs.
    tell: called with each chunk's first index and its result before any of its vectors is yielded, in the thread of the
        caller.
    """

    def aligned(chunk: list[Any]) -> list[Any]:
        return _one_each(encode(chunk), len(chunk))

    # Closed explicitly, since the traceback of an error could keep the inner generator alive.
    with closing(stream_in_order(inputs, aligned, chunk_size)) as results:
        index = 0
        try:
            for result in results:
                if isinstance(result, Result):
                    tell(index, result)
                    continue
                yield _result_at(index, result, on_error)
                index += 1
        except EngineDeadError as error:
            raise _stream_error(error, index) from error


async def astream(
    inputs: AsyncIterable[Any],
    encode: Callable[[list[Any]], Awaitable[Result]],
    chunk_size: int,
    on_error: OnError,
    tell: Callable[[int, Result], object],
) -> AsyncGenerator[Any, None]:
    """`JinaEmbeddings.astream`. encode, tell: as in `stream`."""

    async def aligned(chunk: list[Any]) -> list[Any]:
        return _one_each(await encode(chunk), len(chunk))

    index = 0
    async with aclosing(astream_in_order(inputs, aligned, chunk_size)) as results:
        try:
            async for result in results:
                if isinstance(result, Result):
                    tell(index, result)
                    continue
                yield _result_at(index, result, on_error)
                index += 1
        except EngineDeadError as error:
            raise _stream_error(error, index) from error


def check_stream(inputs: object, chunk_size: int, on_error: object, options: EncodeOptions) -> None:
    """Raises InputError if the inputs can't be streamed, and OptionError for a bad `chunk_size` or `on_error`."""
    if isinstance(inputs, (str, bytes)):
        raise InputError("a stream takes an iterable of inputs: put a single one into a list, or use encode")
    if options.get("show_progress"):
        raise OptionError("a stream shows no progress of its own: wrap it, as in tqdm(model.stream(...))")
    check_count(chunk_size, "chunk_size")
    check_on_error(on_error)


def _one_each(result: Result, num_inputs: int) -> list[Any]:
    """The chunk's result, then one for each input: its embedding, or its `Skipped`."""
    aligned: list[Any] = [None] * num_inputs
    partial: Partial = result.embeddings
    embeddings = partial.embeddings
    if isinstance(embeddings, Both):
        embeddings = [Both(*pair) for pair in zip(*embeddings, strict=True)]
    for index, embedding in zip(partial.kept, embeddings, strict=True):
        aligned[index] = embedding
    for skipped in partial.skipped:
        aligned[skipped.index] = skipped
    return [result, *aligned]


def _stream_error(error: EngineDeadError, start: int) -> EngineDeadError:
    """A chunk's error with the indices of the stream, where the chunk begins at `start`.

    None of its results has been yielded, so all of its inputs count as not done.
    """
    num_inputs = len(error.not_done) + len(error.done.kept) + len(error.done.skipped)
    return EngineDeadError(error.reason, range(start, start + num_inputs))


def _result_at(index: int, result: Any, on_error: OnError) -> Any:
    """The result to yield; for a bad input, its `Skipped` with the index in the stream, or its error raised."""
    if not isinstance(result, Skipped):
        return result
    if on_error == "skip":
        return replace(result, index=index)
    kind = type(result.error)
    raise kind(f"input {index}: {result.error}") from result.error
