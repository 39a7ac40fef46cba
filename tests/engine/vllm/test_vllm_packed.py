"""The engine's side of packed prefill, with a fake worker that keeps results by ticket."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from jina_embeddings.errors import EngineError
from jina_embeddings.types import Prepared
from pack_worker import Worker, inputs, path_of, run


def test_it_is_counted_how_full_packs_are() -> None:
    async def main() -> None:
        worker = Worker()
        path = path_of(worker)
        batch = inputs(40)
        await path.fill([None] * 40, batch, range(40))
        fill = path._sender.pack_fill
        assert sum(fill.counts) == worker.num_started
        # These prompts share no prefix, so all of their tokens are computed; a pack has 20 at most.
        assert fill.total * 20 == pytest.approx(sum(prepared.num_tokens for prepared in batch))

    asyncio.run(main())


def test_vectors_come_back_in_the_order_of_the_inputs() -> None:
    async def main() -> None:
        worker = Worker()
        results = await run(worker, 50)
        assert [float(vectors[0, 0]) for vectors in results] == list(range(50))
        assert worker.num_started > 5
        assert worker.results == {}

    asyncio.run(main())


@pytest.mark.parametrize("at", [1, 2, 5])
def test_a_pack_that_fails_leaves_no_result_behind(at: int) -> None:
    async def main() -> None:
        worker = Worker(fail_at=at)
        with pytest.raises(RuntimeError, match="the worker failed"):
            await run(worker, 50)
        assert worker.results == {}

    asyncio.run(main())


@pytest.mark.parametrize("at", [1, 2, 5])
def test_a_cancelled_call_leaves_no_result_behind(at: int) -> None:
    """Also the pack that was being started leaves no result in the worker."""

    async def main() -> None:
        worker = Worker(wait_at=at)
        call = asyncio.ensure_future(run(worker, 50))
        await worker.waiting.wait()
        assert worker.results != {}
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert worker.results == {}

    asyncio.run(main())


def test_a_pack_without_an_answer_is_an_error() -> None:
    async def main() -> None:
        with pytest.raises(EngineError, match="no worker sent"):
            await run(Worker(silent=True), 50)

    asyncio.run(main())


def test_concurrent_calls_share_packs() -> None:
    async def main() -> None:
        worker = Worker()
        path = path_of(worker)
        batches = [inputs(4), inputs(7), inputs(3)]
        results: list[list[Any]] = [[None] * len(batch) for batch in batches]
        await asyncio.gather(
            *(path.fill(places, batch, range(len(batch))) for places, batch in zip(results, batches, strict=True))
        )
        for places in results:
            assert [float(vectors[0, 0]) for vectors in places] == list(range(len(places)))
        # 10, 28 and 6 tokens take 4 packs of 20 by themselves, and 2 with what prompts of several calls share.
        assert worker.num_started == 2
        assert worker.results == {}

    asyncio.run(main())


def test_a_pack_that_fails_stops_only_the_calls_in_it() -> None:
    async def main() -> None:
        worker = Worker(fail_at=1)
        path = path_of(worker)
        first: list[Any] = [None] * 6
        second: list[Any] = [None] * 6
        ends = await asyncio.gather(
            path.fill(first, inputs(6), range(6)),
            path.fill(second, [replace(one, task="retrieval") for one in inputs(6)], range(6)),
            return_exceptions=True,
        )
        assert isinstance(ends[0], RuntimeError)
        assert ends[1] is None
        assert [float(vectors[0, 0]) for vectors in second] == list(range(6))
        assert worker.results == {}

    asyncio.run(main())


def test_lost_vectors_fail_only_the_calls_of_the_two_packs_of_that_rpc() -> None:
    """The RPC that fetched them also started another pack, which fails too; later packs don't."""

    class Forgetful(Worker):
        async def rpc(self, method: str, args: tuple[Any, ...]) -> list[Any]:
            if method == "jina_run_pack" and args[3] == 0:
                self.results.pop(0, None)
                await super().rpc(method, (*args[:3], None))
                raise RuntimeError("lost")
            return await super().rpc(method, args)

    async def main() -> None:
        worker = Forgetful()
        path = path_of(worker)

        async def call(number: int) -> list[Any]:
            ids = np.full(20, number, dtype=np.int32)  # as many as a pack takes
            results: list[Any] = [None]
            batch = [Prepared(token_ids=ids, task="code", spans=((0, 20),))]
            await path.fill(results, batch, [0])
            return results

        outcomes: list[Any] = await asyncio.gather(*map(call, range(6)), return_exceptions=True)
        assert [isinstance(outcome, RuntimeError) for outcome in outcomes] == [True, True] + [False] * 4
        assert [float(outcome[0][0, 0]) for outcome in outcomes[2:]] == [2, 3, 4, 5]
        assert worker.results == {}

    asyncio.run(main())


def test_a_cancelled_call_leaves_the_others_their_results() -> None:
    async def main() -> None:
        path = path_of(Worker())
        kept: list[Any] = [None] * 30
        gone = asyncio.ensure_future(path.fill([None] * 30, inputs(30), range(30)))
        stays = asyncio.ensure_future(path.fill(kept, inputs(30), range(30)))
        await asyncio.sleep(0)
        gone.cancel()
        await stays
        assert [float(vectors[0, 0]) for vectors in kept] == list(range(30))

    asyncio.run(main())


def test_inputs_that_arrive_while_a_pack_runs_are_started_before_it_is_fetched() -> None:
    class Slow(Worker):
        """A worker whose packs are done when the next has been started."""

        async def rpc(self, method: str, args: tuple[Any, ...]) -> list[Any]:
            if method == "jina_pack_is_done":
                return [self.num_started > 1]
            return await super().rpc(method, args)

    async def main() -> None:
        path = path_of(Slow())
        first: list[Any] = [None] * 2
        second: list[Any] = [None] * 2
        earlier = asyncio.ensure_future(path.fill(first, inputs(2), range(2)))
        await asyncio.sleep(0.01)
        assert not earlier.done()
        await path.fill(second, inputs(2), range(2))
        await earlier

    asyncio.run(main())
