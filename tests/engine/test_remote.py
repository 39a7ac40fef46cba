"""One engine for several processes, here in one: `hosted` gives what another model takes as its engine."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_embeddings import JinaEmbeddings
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.engine.loop_thread import LoopThread
from jina_embeddings.errors import EngineDeadError, EngineError, EngineUnavailableError
from jina_embeddings.types import Prepared

TEXTS = ["one text", "another one", "a third"]
IMAGE = Image.effect_noise((84, 56), 50).convert("RGB")


@contextmanager
def hosted(model: JinaEmbeddings) -> Iterator[Path]:
    """Hosts the model's engine in a thread until the block ends, or `stop` of the loop."""
    loop, begun, stop = LoopThread("host"), threading.Event(), asyncio.Event()
    paths: list[Path] = []

    async def host() -> None:
        async with model.hosted() as path:
            paths.append(path)
            begun.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run(host()))
    thread.start()
    try:
        assert begun.wait(10)
        yield paths[0]
    finally:
        loop.post(stop.set)
        thread.join(10)
        loop.stop()


@contextmanager
def remote(engine: Any) -> Iterator[JinaEmbeddings]:
    """A model on the engine of another one."""
    with (
        JinaEmbeddings(engine=engine) as model,
        hosted(model) as path,
        JinaEmbeddings(engine=path, model="fake") as other,
    ):
        yield other


def test_a_hosted_engine_returns_the_same_vectors() -> None:
    with JinaEmbeddings(engine="fake") as own, remote("fake") as other:
        assert other.engine == "fake"
        np.testing.assert_array_equal(other.encode_text(TEXTS), own.encode_text(TEXTS))
        np.testing.assert_array_equal(other.encode_image(IMAGE), own.encode_image(IMAGE))
        for mine, theirs in zip(
            own.encode_text(TEXTS, return_multivector=True),
            other.encode_text(TEXTS, return_multivector=True),
            strict=True,
        ):
            np.testing.assert_array_equal(mine, theirs)
            theirs += 1  # results are the caller's own


def test_many_callers_of_any_event_loop_get_their_own_vectors() -> None:
    texts = [f"text {number}" for number in range(200)]
    with JinaEmbeddings(engine="fake") as own, remote("fake") as other:
        expected = own.encode_text(texts)

        async def all_at_once() -> list[Any]:
            return await asyncio.gather(*(other.aencode_text(text) for text in texts))

        np.testing.assert_array_equal(asyncio.run(all_at_once()), expected)
        np.testing.assert_array_equal(other.run_async(all_at_once()), expected)


def test_how_full_packs_are_is_told_to_every_process() -> None:
    engine = FakeEngine()
    with remote(engine) as other:
        engine.pack_fill.add(3, 4)
        deadline = time.monotonic() + 5
        while not other.pack_fill.total:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert other.pack_fill == engine.pack_fill


class Failing(FakeEngine):
    """Raises an error of its choice."""

    def __init__(self, error: Exception):
        super().__init__()
        self._error = error

    async def arun(self, batch: Sequence[Prepared], **options: Any) -> Any:
        raise self._error


def test_an_error_of_the_engine_arrives_as_it_is() -> None:
    done = [np.ones((1, 128), np.float32), None, None]
    with remote(Failing(EngineDeadError("it is gone", [1, 2], done))) as other:
        with pytest.raises(EngineDeadError, match="it is gone") as caught:
            other.encode_text(TEXTS)
        assert caught.value.not_done == [1, 2]
        assert len(caught.value.done.embeddings) == 1
    with remote(Failing(ZeroDivisionError("by zero"))) as other, pytest.raises(EngineError, match="by zero"):
        other.encode_text(TEXTS)


class Waiting(FakeEngine):
    """Answers when it is told to, and counts calls and cancelled ones."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.cancelled = threading.Event(), threading.Event()

    async def arun(self, batch: Sequence[Prepared], **options: Any) -> Any:
        self.begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def test_a_cancelled_call_is_cancelled_where_the_engine_is() -> None:
    engine = Waiting()
    with remote(engine) as other:

        async def leave() -> None:
            call = asyncio.ensure_future(other.aencode_text("a text"))
            await asyncio.to_thread(engine.begun.wait, 10)
            call.cancel()
            await asyncio.wait({call})

        asyncio.run(leave())
        assert engine.cancelled.wait(10)
        assert other.alive


def test_waiting_calls_fail_when_the_process_with_the_engine_ends() -> None:
    engine = Waiting()
    with JinaEmbeddings(engine=engine) as model:
        with hosted(model) as path:
            other = JinaEmbeddings(engine=path, model="fake")
            errors: list[BaseException] = []

            def ask() -> None:
                with pytest.raises(EngineDeadError) as caught:
                    other.encode_text("a text")
                errors.append(caught.value)

            asking = threading.Thread(target=ask)
            asking.start()
            assert engine.begun.wait(10)
        asking.join(30)
        assert errors
        assert engine.cancelled.wait(30)
        assert not other.alive
        with pytest.raises(EngineDeadError, match="has ended"):
            other.encode_text("a text")
        other.close()


def test_the_connections_end_with_the_engine() -> None:
    engine = FakeEngine()
    with remote(engine) as other:
        engine.close()
        deadline = time.monotonic() + 5
        while other.alive:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_path_where_nothing_answers_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError, match="no engine answers"):
        JinaEmbeddings(engine=tmp_path / "engine", model="fake")
