"""Small calls of many callers to one vLLM engine: correct vectors, cancelled calls, and the death of the engine."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import parity
from inputs import COSINE, few_of_each_kind
from jina_embeddings import TASKS, JinaEmbeddings
from jina_embeddings.engine.vllm.queue import Call
from jina_embeddings.errors import EngineDeadError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import CheckpointMaker

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def model(checkpoint: CheckpointMaker) -> Iterator[JinaEmbeddings]:
    with JinaEmbeddings(checkpoint(dtype="float32"), engine="vllm") as loaded:
        yield loaded


def cases() -> list[tuple[Any, str, bool]]:
    """Calls with mixed inputs, tasks and kinds of vectors."""
    return [
        (value, task, multivector) for value in few_of_each_kind() for task in TASKS for multivector in (False, True)
    ]


def expected_of(checkpoint: CheckpointMaker) -> list[Any]:
    with JinaEmbeddings(checkpoint(dtype="float32"), engine="torch") as reference:
        return [reference.encode(value, task=task, return_multivector=many) for value, task, many in cases()]


def assert_alike(found: list[Any], expected: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert parity.cosines(np.atleast_2d(one), np.atleast_2d(other)).min() >= COSINE


def test_calls_of_threads_and_of_one_event_loop_have_the_right_vectors(
    model: JinaEmbeddings, checkpoint: CheckpointMaker
) -> None:
    expected = expected_of(checkpoint)
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(model.encode, value, task=task, return_multivector=many) for value, task, many in cases()]
        assert_alike([call.result() for call in calls], expected)

    async def at_once() -> list[Any]:
        return await asyncio.gather(
            *(model.aencode(value, task=task, return_multivector=many) for value, task, many in cases())
        )

    assert_alike(asyncio.run(at_once()), expected)


def test_a_cancelled_call_affects_no_other(model: JinaEmbeddings) -> None:
    async def main() -> None:
        texts = [f"text number {number}" for number in range(40)]
        tasks = [asyncio.ensure_future(model.aencode_text(text)) for text in texts]
        await asyncio.sleep(0.02)
        for task in tasks[::2]:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        expected = await model.aencode_text(texts)
        for end, vector in list(zip(ends, expected, strict=True))[1::2]:
            assert isinstance(end, np.ndarray)
            assert float(np.inner(end, vector)) >= COSINE

    asyncio.run(main())
    # The engine's thread forgets a call after the caller has got its answer.
    deadline = time.monotonic() + 5
    while any(isinstance(one, Call) for one in gc.get_objects()):
        assert time.monotonic() < deadline, "calls are kept"
        time.sleep(0.05)


def test_when_the_engine_dies_every_call_fails_within_two_seconds(model: JinaEmbeddings) -> None:
    """The last test of this engine, which it kills."""

    async def main() -> None:
        calls = [asyncio.ensure_future(model.aencode_text(f"text {number}")) for number in range(30)]
        large = asyncio.ensure_future(model.aencode_text([f"line {number}" for number in range(5000)]))
        await asyncio.sleep(0.05)
        cores = [child for child in multiprocessing.active_children() if child.name.startswith("EngineCore")]
        # Engines of other tests may still run; the one of this file was started last.
        core = max(cores, key=lambda child: child.pid or 0)
        assert core.pid is not None
        os.kill(core.pid, signal.SIGKILL)
        start = time.monotonic()
        ends = await asyncio.wait_for(asyncio.gather(*calls, large, return_exceptions=True), timeout=10)
        assert time.monotonic() - start < 2
        errors = [end for end in ends if isinstance(end, BaseException)]
        assert errors
        assert all(isinstance(error, EngineDeadError) for error in errors)
        with pytest.raises(EngineDeadError):
            await model.aencode_text("too late")

    asyncio.run(main())
