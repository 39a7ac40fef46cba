"""How streams end: by failures of the source or the encoder, by closing, and by cancelling."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.calls.streaming import astream_in_order, stream_in_order
from jina_embeddings.errors import InputError
from streams import Counter, Encoder, SourceError, other_tasks, run, stream_threads, take

# Failures


@pytest.mark.parametrize("num_good", [0, 1, 8, 9, 20, 100])
def test_where_the_source_fails_the_results_before_come_first(num_good: int) -> None:
    taken: list[int] = []
    with pytest.raises(SourceError, match=f"after {num_good}"):
        taken.extend(stream_in_order(Counter(error_at=num_good), Encoder(), 16))
    assert taken == list(range(0, 2 * num_good, 2))

    async def main() -> list[int]:
        taken: list[int] = []
        with pytest.raises(SourceError, match=f"after {num_good}"):
            await take(astream_in_order(Counter(error_at=num_good), Encoder().later, 16), taken)
        assert other_tasks() == set()
        return taken

    assert run(main) == list(range(0, 2 * num_good, 2))
    assert stream_threads() == []


@pytest.mark.parametrize("fail_at", [0, 5, 30])
def test_where_encoding_fails_the_chunks_before_come_first(fail_at: int) -> None:
    chunk_size = 4
    source = Counter()
    taken: list[int] = []
    with pytest.raises(InputError, match=f"number {fail_at}"):
        taken.extend(stream_in_order(source, Encoder(fail_at), chunk_size))
    good = fail_at // chunk_size * chunk_size
    assert taken == list(range(0, 2 * good, 2))
    assert source.num_read <= good + 2 * chunk_size
    assert stream_threads() == []

    async def main() -> list[int]:
        taken: list[int] = []
        with pytest.raises(InputError, match=f"number {fail_at}"):
            await take(astream_in_order(Counter(), Encoder(fail_at).later, chunk_size), taken)
        assert other_tasks() == set()
        return taken

    assert run(main) == list(range(0, 2 * good, 2))


def test_a_source_that_is_cancelled_does_not_leave_the_consumer_waiting() -> None:
    async def source() -> AsyncIterator[int]:
        yield 1
        raise asyncio.CancelledError

    async def main() -> None:
        taken: list[int] = []
        with pytest.raises(asyncio.CancelledError):
            await take(astream_in_order(source(), Encoder().later, 4), taken)
        assert taken == [2]

    run(main)


def test_a_source_that_is_not_iterable_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        list(stream_in_order(3, Encoder(), 4))  # type: ignore[arg-type]

    async def main() -> None:
        with pytest.raises(TypeError):
            await anext(astream_in_order([1, 2], Encoder().later, 4))  # type: ignore[arg-type]

    run(main)


# The end


def test_closing_stops_reading_and_leaves_no_threads() -> None:
    source = Counter()
    results = stream_in_order(source, Encoder(time_s=0.01), 8)
    next(results)
    results.close()
    assert stream_threads() == []
    num_read = source.num_read
    time.sleep(0.05)
    assert source.num_read == num_read
    with pytest.raises(StopIteration):
        next(results)


def test_leaving_a_loop_stops_reading_and_leaves_no_threads(fake_model: JinaEmbeddings) -> None:
    source = Counter()
    for vector in fake_model.stream((str(number) for number in source), chunk_size=8):
        assert vector.shape == (2048,)
        break
    assert stream_threads() == []
    num_read = source.num_read
    time.sleep(0.05)
    assert source.num_read == num_read <= 24


def test_a_stream_that_is_never_begun_reads_nothing(fake_model: JinaEmbeddings) -> None:
    source = Counter()
    results = fake_model.stream(str(number) for number in source)
    assert source.num_read == 0
    del results
    assert stream_threads() == []


@pytest.mark.parametrize("pause_s", [0, 0.05], ids=["fast", "slow"])
@pytest.mark.parametrize("chunk_size", [1, 8])
def test_closing_an_async_stream_leaves_no_tasks(fake_model: JinaEmbeddings, pause_s: float, chunk_size: int) -> None:
    async def main() -> None:
        source = Counter(pause_s=pause_s)
        texts = (str(number) async for number in source)
        for results in (
            astream_in_order(source, Encoder().later, chunk_size),
            fake_model.astream(texts, chunk_size=chunk_size),
        ):
            await anext(results)
            await results.aclose()  # type: ignore[attr-defined]
            assert other_tasks() == set()
            num_read = source.num_read
            await asyncio.sleep(0.1)
            assert source.num_read == num_read

    run(main)


def test_closing_an_async_stream_ends_its_source() -> None:
    """The source is closed too, as it may have an open file or connection."""
    ended = []

    async def source() -> AsyncIterator[int]:
        try:
            for number in itertools.count():
                await asyncio.sleep(0)
                yield number
        finally:
            ended.append(True)

    async def main() -> None:
        async with aclosing(astream_in_order(source(), Encoder().later, 4)) as results:
            await anext(results)
        assert ended == [True]

    run(main)


@pytest.mark.parametrize("waits_for", ["source", "encoder"])
def test_a_consumer_that_is_cancelled_leaves_no_tasks(waits_for: str) -> None:
    async def main() -> None:
        source = Counter(pause_s=60 if waits_for == "source" else 0)
        encoder = Encoder(time_s=60 if waits_for == "encoder" else 0)

        async def consume() -> None:
            async for _ in astream_in_order(source, encoder.later, 4):
                pass

        consumer = asyncio.ensure_future(consume())
        await asyncio.sleep(0.05)
        consumer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consumer
        assert other_tasks() == set()

    run(main)
