"""`JinaEmbeddings.stream` and `astream`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from jina_embeddings import JinaEmbeddings, Skipped
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.errors import EmptyInputError, OptionError, UnknownTaskError
from streams import Counter, later, other_tasks, run, stream_threads, take, texts

if TYPE_CHECKING:
    from jina_embeddings.types import FloatArray, Prepared


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
