"""Several engines as one, with fake engines whose results are the first token of each prompt."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest

from jina_embeddings import TASKS
from jina_embeddings.engine.vllm import arguments as vllm_arguments
from jina_embeddings.engine.vllm.replicas import Replicas, start_on_devices
from jina_embeddings.errors import (
    EngineClosedError,
    EngineDeadError,
    EngineError,
    EngineUnavailableError,
    OutOfMemoryError,
)
from jina_embeddings.fill import Fill
from jina_embeddings.options import make_options
from jina_embeddings.types import Prepared

PACK_TOKENS = 20
T = TypeVar("T")


class Engine:
    """A fake engine that sleeps for each token; `fail(call)` may return an error for its n-th call."""

    name = "test"
    max_length = 100
    calls_at_once = 3

    chunk_size = 256
    hang_s = 10.0
    pack_fill = Fill()
    alive = True

    def __init__(self, fail: Callable[[int], Exception | None] = lambda call: None, s_per_token: float = 1e-4):
        self.sizes: list[int] = []
        self.call_sizes: set[int | None] = set()
        self.closed = False
        self._fail, self._s_per_token = fail, s_per_token

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Any]:
        self.sizes.append(sum(prepared.num_tokens for prepared in batch))
        self.call_sizes.add(call_size)
        error = self._fail(len(self.sizes))
        await asyncio.sleep(self.sizes[-1] * self._s_per_token)
        if error:
            raise error
        return [np.full((1, 4), prepared.token_ids[0], dtype=np.float32) for prepared in batch]

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Any]:
        return asyncio.run(self.arun(batch))

    def run_async(self, main: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(main)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def joined() -> Iterator[Callable[..., Replicas]]:
    made: list[Replicas] = []

    def join(*engines: Engine) -> Replicas:
        made.append(Replicas(engines, PACK_TOKENS))
        return made[-1]

    yield join
    for replicas in made:
        replicas.close()


def inputs(count: int) -> list[Prepared]:
    """Prompts of 1 to 9 tokens, whose first token is their index."""
    ids = [np.full(1 + number % 9, number, dtype=np.int32) for number in range(count)]
    return [Prepared(token_ids=row, task="code", spans=((0, len(row)),)) for row in ids]


def dies_at(call: int) -> Callable[[int], Exception | None]:
    return lambda number: EngineDeadError("gone") if number >= call else None


def check(results: list[Any]) -> None:
    assert [float(vectors[0, 0]) for vectors in results] == list(range(len(results)))


def test_the_work_is_shared_and_comes_back_in_order(joined: Callable[..., Replicas]) -> None:
    engines = [Engine(), Engine(), Engine()]
    check(joined(*engines).run(inputs(300)))
    shares = [sum(engine.sizes) for engine in engines]
    assert max(shares) < 1.5 * min(shares)


def test_small_calls_from_the_own_event_loop_are_shared_too(joined: Callable[..., Replicas]) -> None:
    engines = [Engine(), Engine()]
    replicas = joined(*engines)

    async def small_calls() -> list[Any]:
        return await asyncio.gather(*(replicas.arun([one]) for one in inputs(100)))

    check([outputs for (outputs,) in replicas.run_async(small_calls())])
    assert all(engine.sizes for engine in engines)
    dead = joined(Engine(dies_at(1)))
    with pytest.raises(EngineDeadError) as caught:
        dead.run_async(dead.arun(inputs(1)))
    assert caught.value.not_done == [0]


class Device(Engine):
    """Runs one batch after another, as a device does; `ended` is when the last one was done."""

    def __init__(self) -> None:
        super().__init__(s_per_token=2e-3)
        self._turn = asyncio.Lock()

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Any]:
        async with self._turn:
            outputs = await super().arun(batch)
            self.ended = time.monotonic()
            return outputs


@pytest.mark.parametrize("count", [150, 160, 170])
def test_engines_end_together(joined: Callable[..., Replicas], count: int) -> None:
    devices = [Device(), Device()]
    check(joined(*devices).run(inputs(count)))
    assert abs(devices[0].ended - devices[1].ended) < 0.8 * PACK_TOKENS * 2e-3


class Waiting(Engine):
    """Records the most tokens of each task that were in progress at a time."""

    def __init__(self) -> None:
        super().__init__(s_per_token=1e-3)
        self.most: Counter[str] = Counter()
        self._now: Counter[str] = Counter()

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Any]:
        task, num_tokens = batch[0].task, sum(prepared.num_tokens for prepared in batch)
        self._now[task] += num_tokens
        self.most |= self._now
        outputs = await super().arun(batch)
        self._now[task] -= num_tokens
        return outputs


def test_an_engine_gets_a_bounded_number_of_tokens_of_each_task(joined: Callable[..., Replicas]) -> None:
    engines = [Waiting(), Waiting()]
    check(joined(*engines).run([replace(one, task=TASKS[number % 3]) for number, one in enumerate(inputs(900))]))
    for engine in engines:
        assert sorted(engine.most) == sorted(TASKS)
        assert all(8 * PACK_TOKENS < most < 10 * PACK_TOKENS for most in engine.most.values())


@pytest.mark.parametrize(("given", "told"), [({}, 300), ({"call_size": 5000}, 5000)])
def test_every_piece_passes_on_the_size_of_the_whole_call(
    joined: Callable[..., Replicas], given: dict[str, int], told: int
) -> None:
    engines = [Engine(), Engine()]
    check(joined(*engines).run(inputs(300), **given))
    assert [engine.call_sizes for engine in engines] == [{told}, {told}]


def test_a_slow_engine_gets_less_work(joined: Callable[..., Replicas]) -> None:
    slow, fast = Engine(s_per_token=1e-2), Engine()
    check(joined(slow, fast).run(inputs(900)))
    assert sum(fast.sizes) > 3 * sum(slow.sizes)


@pytest.mark.parametrize("call", [1, 2, 5])
def test_the_others_do_the_work_of_one_that_dies(
    joined: Callable[..., Replicas], caplog: pytest.LogCaptureFixture, call: int
) -> None:
    dying, living = Engine(dies_at(call)), Engine()
    replicas = joined(dying, living)
    check(replicas.run(inputs(300)))
    check(asyncio.run(replicas.arun(inputs(10))))
    assert [record.message for record in caplog.records] == ["engine 1 of 2: gone; 1 go on"]
    # The inputs that were running when it died.
    assert len(dying.sizes) <= call + 22


def test_when_all_die_the_error_has_what_was_done(joined: Callable[..., Replicas]) -> None:
    replicas = joined(Engine(dies_at(3)), Engine(dies_at(5)))
    with pytest.raises(EngineDeadError, match="all engines") as caught:
        replicas.run(inputs(300))
    error = caught.value
    assert 0 < len(error.not_done) < 300
    for index, vectors in enumerate(error.done):
        assert (vectors is None) == (index in error.not_done)
        assert vectors is None or vectors[0, 0] == index
    with pytest.raises(EngineDeadError) as caught:
        replicas.run(inputs(2))
    assert caught.value.not_done == [0, 1]


def test_an_error_about_an_input_is_not_retried_on_another_engine(joined: Callable[..., Replicas]) -> None:
    engines = [Engine(lambda call: OutOfMemoryError("too much")), Engine(dies_at(1))]
    with pytest.raises(OutOfMemoryError):
        joined(*engines).run(inputs(300))


def test_closing_fails_running_calls(joined: Callable[..., Replicas]) -> None:
    engines = [Engine(s_per_token=1), Engine(s_per_token=1)]
    replicas = joined(*engines)
    closer = threading.Timer(0.2, replicas.close)
    closer.start()
    with pytest.raises(EngineClosedError):
        replicas.run(inputs(50))
    closer.join()
    assert all(engine.closed for engine in engines)
    with pytest.raises(EngineClosedError):
        replicas.run(inputs(1))


def test_a_cancelled_call_frees_its_engines(joined: Callable[..., Replicas]) -> None:
    replicas = joined(Engine(), Engine())

    async def main() -> None:
        call = asyncio.ensure_future(replicas.arun(inputs(3000)))
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        check(await replicas.arun(inputs(100)))

    asyncio.run(main())


def test_devices_are_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_arguments, "on_cpu", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,5,7,8")
    for tensor, data, expected in ((1, 3, [["2"], ["3"], ["5"]]), (2, 2, [["2", "3"], ["5", "7"]])):
        options = make_options({"tensor_parallel_size": tensor, "data_parallel_size": data}, "vllm")
        assert vllm_arguments.devices_of_replicas(options) == expected
    with pytest.raises(EngineUnavailableError, match="3 engines of 2 devices need 6, and 5 are visible"):
        vllm_arguments.devices_of_replicas(replace(options, data_parallel_size=3))


def test_each_engine_starts_with_its_own_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    seen = []

    def make() -> Any:
        seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
        return Engine()

    assert len(start_on_devices(make, [["4", "5"], ["6", "7"]])) == 2
    assert seen == ["4,5", "6,7"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,5,6,7"


def test_if_one_does_not_start_the_others_are_closed() -> None:
    engines = [Engine()]

    def make() -> Any:
        time.sleep(0.01)
        if not engines:
            raise EngineError("no")
        return engines.pop()

    first = engines[0]
    with pytest.raises(EngineError, match="no"):
        start_on_devices(make, [[], []])
    assert first.closed
