"""Streams of chunks: order, how far the source is read ahead, and slow sources."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, closing
from typing import Any

import pytest

from jina_embeddings.calls.streaming import astream_in_order, stream_in_order
from streams import PATIENCE_S, Counter, Encoder, later, run

# Both ways


@pytest.mark.parametrize("num_items", [0, 1, 7, 8, 9, 24, 25, 300])
@pytest.mark.parametrize("chunk_size", [1, 3, 8, 256])
def test_every_item_has_its_result_in_order(num_items: int, chunk_size: int) -> None:
    encoder = Encoder()
    assert list(stream_in_order(range(num_items), encoder, chunk_size)) == list(range(0, 2 * num_items, 2))
    assert max(map(len, encoder.chunks), default=0) <= chunk_size

    async def main() -> list[int]:
        return [result async for result in astream_in_order(later(range(num_items)), encoder.later, chunk_size)]

    encoder.chunks.clear()
    assert run(main) == list(range(0, 2 * num_items, 2))
    assert max(map(len, encoder.chunks), default=0) <= chunk_size


def test_order_is_kept_where_later_chunks_finish_first() -> None:
    def encode(chunk: list[int]) -> list[int]:
        time.sleep(0.03 if chunk[0] % 2 == 0 else 0)
        return chunk

    assert list(stream_in_order(range(9), encode, 1)) == list(range(9))

    async def aencode(chunk: list[int]) -> list[int]:
        await asyncio.sleep(0.03 if chunk[0] % 2 == 0 else 0)
        return chunk

    async def main() -> list[int]:
        return [result async for result in astream_in_order(later(range(9)), aencode, 1)]

    assert run(main) == list(range(9))


@pytest.mark.parametrize("num_taken", [1, 50, 200])
def test_an_endless_source_is_read_at_most_two_chunks_ahead(num_taken: int) -> None:
    chunk_size = 16
    source, encoder = Counter(), Encoder(time_s=0.001)
    with closing(stream_in_order(source, encoder, chunk_size)) as results:
        assert list(itertools.islice(results, num_taken)) == list(range(0, 2 * num_taken, 2))
        assert source.num_read <= num_taken + 2 * chunk_size
    assert encoder.most_at_once <= 2


@pytest.mark.parametrize("num_taken", [1, 50, 200])
def test_an_endless_async_source_is_read_few_chunks_ahead(num_taken: int) -> None:
    chunk_size = 16

    async def main() -> None:
        source, encoder = Counter(), Encoder(time_s=0.001)
        async with aclosing(astream_in_order(source, encoder.later, chunk_size)) as results:
            taken = [await anext(results) for _ in range(num_taken)]
            assert taken == list(range(0, 2 * num_taken, 2))
            await asyncio.sleep(0.1)
            assert source.num_read <= num_taken + 5 * chunk_size

    run(main)


def test_two_async_chunks_run_at_a_time() -> None:
    async def main() -> int:
        encoder = Encoder(time_s=0.02)
        results = [result async for result in astream_in_order(later(range(40)), encoder.later, 4)]
        assert len(results) == 40
        return encoder.most_at_once

    assert run(main) == 2


def test_a_chunk_is_prepared_while_the_one_before_runs() -> None:
    encoder = Encoder(time_s=0.02)
    list(stream_in_order(range(40), encoder, 4))
    assert encoder.most_at_once == 2


def test_the_first_results_do_not_wait_for_a_full_chunk() -> None:
    source = Counter()
    with closing(stream_in_order(source, Encoder(), 256)) as results:
        next(results)
        assert source.num_read < 64


# Slow sources


async def time_to_first(results: AsyncIterator[Any]) -> float:
    start = time.perf_counter()
    await anext(results)
    return time.perf_counter() - start


def test_a_pause_in_the_source_runs_an_incomplete_chunk() -> None:
    async def source() -> AsyncIterator[int]:
        for number in range(3):
            yield number
        await asyncio.sleep(PATIENCE_S)
        yield 3

    async def main() -> float:
        encoder = Encoder()
        async with aclosing(astream_in_order(source(), encoder.later, 256)) as results:
            waited = await time_to_first(results)
            assert encoder.chunks == [[0, 1, 2]]
            assert [await anext(results) for _ in range(2)] == [2, 4]
            return waited

    assert run(main) < 1


def test_a_slow_source_does_not_wait_for_a_full_chunk() -> None:
    """With an item every few milliseconds there is no pause, but a full chunk of 256 would take long."""

    async def main() -> float:
        source = Counter(pause_s=0.005)
        async with aclosing(astream_in_order(source, Encoder().later, 256)) as results:
            return await time_to_first(results)

    assert run(main) < 0.5


def test_a_slow_consumer_loses_nothing() -> None:
    async def main() -> list[int]:
        taken = []
        async for result in astream_in_order(later(range(20)), Encoder().later, 4):
            await asyncio.sleep(0.005)
            taken.append(result)
        return taken

    assert run(main) == list(range(0, 40, 2))
