"""Streams: order, bounded memory, early results, errors, and clean-up."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from jina_embeddings import JinaEmbeddings, Skipped
from jina_embeddings.calls.streaming import astream_in_order, stream_in_order
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.errors import EmptyInputError, InputError, OptionError, UnknownTaskError

if TYPE_CHECKING:
    from jina_embeddings.types import FloatArray, Prepared

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


# On the class


def texts(num_texts: int) -> list[str]:
    return [f"text {number}" for number in range(num_texts)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"task": "code.passage", "truncate_dim": 128},
        {"embedding_type": "base64"},
        {"return_multivector": True},
        {"return_numpy": False},
    ],
    ids=str,
)
def test_a_stream_gives_what_encode_gives(fake_model: JinaEmbeddings, options: dict[str, Any]) -> None:
    expected = fake_model.encode(texts(30), **options)
    results = list(fake_model.stream(iter(texts(30)), chunk_size=7, **options))

    async def main() -> list[Any]:
        return [result async for result in fake_model.astream(later(texts(30)), chunk_size=7, **options)]

    for found in (results, run(main)):
        assert len(found) == 30
        for one, other in zip(found, expected, strict=True):
            assert type(one) is type(other)
            if options.get("embedding_type") == "base64":
                assert one == other
            else:
                assert np.array_equal(np.asarray(one), np.asarray(other))


def check_skipped(results: Sequence[Any], bad: set[int]) -> None:
    assert len(results) == 40
    for index, result in enumerate(results):
        if index in bad:
            assert isinstance(result, Skipped)
            assert (result.index, type(result.error)) == (index, EmptyInputError)
        else:
            assert result.shape == (2048,)


@pytest.mark.parametrize("bad", [{0}, {3, 17, 39}, set(range(40))], ids=["first", "some", "all"])
def test_a_bad_input_of_a_stream_is_skipped_with_its_index_in_the_stream(
    fake_model: JinaEmbeddings, bad: set[int]
) -> None:
    inputs = ["" if number in bad else text for number, text in enumerate(texts(40))]
    check_skipped(list(fake_model.stream(inputs, chunk_size=7, on_error="skip")), bad)

    async def main() -> list[Any]:
        return [result async for result in fake_model.astream(later(inputs), chunk_size=7, on_error="skip")]

    check_skipped(run(main), bad)


@pytest.mark.parametrize("bad", [0, 3, 20, 30])
@pytest.mark.parametrize("chunk_size", [1, 7])
def test_a_bad_input_of_a_stream_is_raised_with_its_index_in_the_stream(
    fake_model: JinaEmbeddings, bad: int, chunk_size: int
) -> None:
    inputs = texts(40)
    inputs[bad] = ""
    with pytest.raises(EmptyInputError, match=rf"input {bad}\b"):
        list(fake_model.stream(inputs, chunk_size=chunk_size))

    async def main() -> None:
        with pytest.raises(EmptyInputError, match=rf"input {bad}\b"):
            async for _ in fake_model.astream(later(inputs), chunk_size=chunk_size):
                pass

    run(main)


@pytest.mark.parametrize("chunk_size", [0, -1, 2.5, "8", True])
def test_an_invalid_chunk_size_is_refused_at_once(fake_model: JinaEmbeddings, chunk_size: Any) -> None:
    with pytest.raises(OptionError, match="chunk_size"):
        fake_model.stream(["a"], chunk_size=chunk_size)

    async def main() -> None:
        with pytest.raises(OptionError, match="chunk_size"):
            await anext(fake_model.astream(later(["a"]), chunk_size=chunk_size))

    run(main)


@pytest.mark.parametrize("chunk_size", [1, 7])
def test_a_stream_that_raised_leaves_nothing_behind_while_its_error_is_handled(
    fake_model: JinaEmbeddings, chunk_size: int
) -> None:
    source = Counter()
    inputs = ("" if number == 10 else f"text {number}" for number in source)
    with pytest.raises(EmptyInputError) as error:
        list(fake_model.stream(inputs, chunk_size=chunk_size))
    assert stream_threads() == []
    assert error.value is not None

    async def main() -> None:
        inputs = ("" if number == 10 else f"text {number}" async for number in Counter())
        with pytest.raises(EmptyInputError) as error:
            await take(fake_model.astream(inputs, chunk_size=chunk_size), [])
        assert other_tasks() == set()
        assert error.value is not None

    run(main)


@pytest.mark.parametrize("on_error", ["ignore", None, "Skip"])
def test_a_stream_refuses_an_unknown_on_error(fake_model: JinaEmbeddings, on_error: Any) -> None:
    with pytest.raises(OptionError, match="on_error"):
        list(fake_model.stream(["a"], on_error=on_error))

    async def main() -> None:
        with pytest.raises(OptionError, match="on_error"):
            await take(fake_model.astream(later(["a"]), on_error=on_error), [])

    run(main)


def test_a_wrong_option_is_an_error_of_the_first_result(fake_model: JinaEmbeddings) -> None:
    with pytest.raises(UnknownTaskError):
        next(fake_model.stream(["a"], task="nonsense"))


def test_an_empty_source_gives_no_results(fake_model: JinaEmbeddings) -> None:
    assert list(fake_model.stream([])) == []

    async def main() -> list[Any]:
        return [result async for result in fake_model.astream(later([]))]

    assert run(main) == []


def test_an_async_stream_leaves_the_event_loop_free() -> None:
    class Slow(FakeEngine):
        def run(
            self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
        ) -> list[FloatArray]:
            time.sleep(0.2)
            return super().run(batch, batch_size=batch_size)

        async def arun(
            self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
        ) -> list[FloatArray]:
            return await asyncio.to_thread(self.run, batch, batch_size=batch_size)

    model = JinaEmbeddings(engine=Slow())

    async def main() -> float:
        pauses = []

        async def tick() -> None:
            while True:
                before = time.perf_counter()
                await asyncio.sleep(0.001)
                pauses.append(time.perf_counter() - before)

        ticking = asyncio.create_task(tick())
        assert len([vector async for vector in model.astream(later(texts(6)), chunk_size=2)]) == 6
        ticking.cancel()
        return max(pauses)

    assert run(main) < 0.15
