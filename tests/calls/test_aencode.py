"""The calls for asyncio return the same, and don't block the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.calls.job import Job
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.inputs.processor import Processor
from sample_calls import CALLS, TEXTS, name_of, plain

if TYPE_CHECKING:
    from jina_embeddings.types import FloatArray, Prepared


@pytest.mark.parametrize(("method", "inputs", "options"), CALLS, ids=name_of)
def test_asyncio_twins_return_the_same(
    fake_model: JinaEmbeddings, method: str, inputs: Any, options: dict[str, Any]
) -> None:
    expected = getattr(fake_model, method)(inputs, **options)
    result = asyncio.run(getattr(fake_model, f"a{method}")(inputs, **options))
    assert type(result) is type(expected)
    assert plain(result) == plain(expected)


def test_many_tasks_at_once_get_their_own_results(fake_model: JinaEmbeddings) -> None:
    async def main() -> list[Any]:
        calls = [getattr(fake_model, f"a{method}")(inputs, **options) for method, inputs, options in CALLS * 5]
        return list(await asyncio.gather(*calls))

    expected = [plain(getattr(fake_model, method)(inputs, **options)) for method, inputs, options in CALLS]
    assert [plain(result) for result in asyncio.run(main())] == expected * 5


class Slow(FakeEngine):
    """A slow engine, which doesn't block the event loop."""

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        time.sleep(0.4)
        return super().run(batch, batch_size=batch_size)

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        return await asyncio.to_thread(self.run, batch, batch_size=batch_size)


async def longest_pause_beside(work: Any) -> tuple[float, float]:
    """(longest time that another task waited for its turn, time of the work), in seconds."""
    pauses = []

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            pauses.append(time.perf_counter() - before)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.01)
    start = time.perf_counter()
    await work
    took = time.perf_counter() - start
    await asyncio.sleep(0.01)
    ticking.cancel()
    return max(pauses), took


@pytest.mark.parametrize("slow", ["preparing", "running", "finishing"])
@pytest.mark.parametrize("method", ["aencode_text", "aencode"])
def test_a_slow_call_does_not_block_the_event_loop(monkeypatch: pytest.MonkeyPatch, slow: str, method: str) -> None:
    model = JinaEmbeddings(engine=Slow() if slow == "running" else FakeEngine())
    if slow != "running":
        owner, name = {"preparing": (Processor, "texts"), "finishing": (Job, "finish")}[slow]
        original = getattr(owner, name)

        def later(*args: Any, **options: Any) -> Any:
            time.sleep(0.4)
            return original(*args, **options)

        monkeypatch.setattr(owner, name, later)
    pause, took = asyncio.run(longest_pause_beside(getattr(model, method)(TEXTS * 8)))
    assert took >= 0.4
    assert pause < took / 2


def test_the_fake_engine_does_not_block_the_event_loop_either(fake_model: JinaEmbeddings) -> None:
    words = np.random.default_rng(0).integers(0, 10**9, (400, 20))
    texts = [" ".join(map(str, row)) for row in words]
    pause, took = asyncio.run(longest_pause_beside(fake_model.aencode_text(texts)))
    assert pause < took / 2
