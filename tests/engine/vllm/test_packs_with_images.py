"""Packs with images whose pixels are in shared memory, and packs that are made while the worker runs another."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from jina_embeddings.engine.vllm.packed import PackedPath
from jina_embeddings.engine.vllm.pixel_memory import PixelMemory
from jina_embeddings.errors import EngineError
from jina_embeddings.types import Prepared, PreparedImage
from pack_worker import Worker, inputs, sender_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jina_embeddings.engine.vllm.sender import PackSender


class Counted(PixelMemory):
    """Counts the segments that have a pack, and knows the most it had."""

    def __init__(self) -> None:
        super().__init__()
        self.in_progress = self.most = self.retired = 0

    def take(self, num_bytes: int) -> Any:
        self.in_progress += 1
        self.most = max(self.most, self.in_progress)
        return super().take(num_bytes)

    def give_back(self, segment: Any) -> None:
        self.in_progress -= 1
        super().give_back(segment)

    def retire(self, segment: Any) -> None:
        self.in_progress -= 1
        self.retired += 1
        super().retire(segment)


async def shared(worker: Worker) -> tuple[PackSender, PackedPath, Counted]:
    sender = sender_of(worker)
    memory = await Counted.open(worker.rpc)
    assert isinstance(memory, Counted)
    sender._memory = memory
    return sender, PackedPath(sender, 20), memory


def pages(count: int) -> list[Prepared]:
    """Prompts of 10 tokens, two a pack; the token is 1,000 times their index, and the pixels are the index."""
    made = []
    for number in range(count):
        pixels = np.full((28, 56, 3), number, dtype=np.uint8)
        image = PreparedImage(pixels, (1, 2, 4), offset=3, num_tokens=2, digest=str(number))
        ids = np.full(10, 1000 * number, dtype=np.int32)
        made.append(Prepared(token_ids=ids, task="code", spans=((0, 10),), image=image))
    return made


def check(results: list[Any]) -> None:
    assert [float(vectors[0, 0]) for vectors in results] == [1001 * number for number in range(len(results))]


def fill(path: PackedPath, batch: list[Prepared]) -> tuple[list[Any], asyncio.Future[None]]:
    results: list[Any] = [None] * len(batch)
    return results, asyncio.ensure_future(path.fill(results, batch, range(len(batch))))


def test_pixels_are_read_from_memory_of_at_most_three_packs() -> None:
    async def main() -> None:
        worker = Worker()
        _, path, memory = await shared(worker)
        results, done = fill(path, pages(20))
        await done
        check(results)
        assert (memory.in_progress, memory.retired) == (0, 0)
        assert memory.most <= 3
        # One segment for each pack in progress, and the one of the first trial: later packs reuse them.
        assert len(worker.pixels._segments) <= 4

    asyncio.run(main())


def test_pixels_are_sent_where_memory_is_not_shared_or_there_is_none_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        worker = Worker()
        results, done = fill(PackedPath(sender_of(worker), 20), pages(6))
        await done
        check(results)
        assert not worker.pixels._segments
        _, path, memory = await shared(worker)

        def fail(num_bytes: int) -> Any:
            raise OSError("too many open files")

        monkeypatch.setattr(memory, "take", fail)
        results, done = fill(path, pages(6))
        await done
        check(results)

    asyncio.run(main())


@pytest.mark.parametrize("at", [1, 2, 5])
def test_a_pack_that_fails_leaves_no_memory_in_use(at: int) -> None:
    async def main() -> None:
        worker = Worker(fail_at=at)
        _, path, memory = await shared(worker)
        with pytest.raises(RuntimeError, match="the worker failed"):
            await fill(path, pages(20))[1]
        assert memory.in_progress == 0
        assert worker.results == {}
        # What was in progress may still be read; later packs get other memory.
        assert memory.retired >= 1
        results, done = fill(path, pages(8))
        await done
        check(results)
        assert memory.in_progress == 0

    asyncio.run(main())


@pytest.mark.parametrize("at", [1, 2, 5])
def test_a_cancelled_call_leaves_no_memory_in_use(at: int) -> None:
    async def main() -> None:
        worker = Worker(wait_at=at)
        sender, path, memory = await shared(worker)
        _, done = fill(path, pages(20))
        await worker.waiting.wait()
        assert memory.in_progress == min(at, 2) + 1
        done.cancel()
        with pytest.raises(asyncio.CancelledError):
            await done
        # A thread may still write the pack that was made ahead, which then frees what it has.
        await asyncio.sleep(0.05)
        assert memory.in_progress == 0
        assert worker.results == {}
        sender.close()

    asyncio.run(main())


def test_a_pack_ahead_whose_calls_have_all_ended_is_not_sent() -> None:
    async def main() -> None:
        worker = Worker(wait_at=1)
        _, path, memory = await shared(worker)
        kept, stays = fill(path, pages(2))
        await worker.waiting.wait()
        _, gone = fill(path, [replace(one, task="retrieval") for one in pages(4)])
        await asyncio.sleep(0.05)
        assert memory.in_progress == 2
        gone.cancel()
        await asyncio.sleep(0)
        worker.proceed.set()
        await stays
        check(kept)
        assert worker.num_started == 1
        assert memory.in_progress == 0

    asyncio.run(main())


def test_the_next_pack_is_made_while_the_worker_runs_one_if_inputs_fill_it() -> None:
    async def main() -> None:
        for count, ahead in ((8, [1, 2, 3]), (5, [1, 2])):
            worker = Worker(wait_at=2)
            sender, path, _ = await shared(worker)
            made: list[int] = []
            sender.message = counting(sender.message, made)  # type: ignore[method-assign, assignment]
            results, done = fill(path, pages(count))
            await worker.waiting.wait()
            await asyncio.sleep(0.05)
            assert made == ahead
            worker.proceed.set()
            await done
            check(results)

    asyncio.run(main())


def counting(message: Callable[..., Awaitable[Any]], made: list[int]) -> Callable[..., Awaitable[Any]]:
    async def counted(*arguments: Any, **options: Any) -> Any:
        result = await message(*arguments, **options)
        made.append(len(made) + 1)
        return result

    return counted


def test_a_pack_that_cannot_be_made_fails_its_calls_and_no_others() -> None:
    async def main() -> None:
        worker = Worker(wait_at=1)
        _, path, memory = await shared(worker)
        kept, stays = fill(path, pages(2))
        await worker.waiting.wait()
        broken = [replace(one, task="retrieval", spans=((0, 1, 2),)) for one in pages(4)]  # type: ignore[arg-type]
        _, fails = fill(path, broken)
        also, goes_on = fill(path, inputs(9))
        await asyncio.sleep(0.05)
        worker.proceed.set()
        await asyncio.gather(stays, goes_on)
        with pytest.raises(ValueError, match="broadcast"):
            await fails
        check(kept)
        assert [float(vectors[0, 0]) for vectors in also] == list(range(9))
        assert memory.in_progress == 0
        assert worker.results == {}

    asyncio.run(main())


def test_vectors_that_never_come_leave_no_memory_in_use() -> None:
    async def main() -> None:
        worker = Worker(silent=True)
        _, path, memory = await shared(worker)
        with pytest.raises(EngineError, match="no worker sent"):
            await fill(path, pages(4))[1]
        assert memory.in_progress == 0

    asyncio.run(main())


def test_small_packs_share_memory_too_and_give_it_up_when_they_fail() -> None:
    async def main() -> None:
        from jina_embeddings.engine.vllm.queue import Call

        worker = Worker()
        sender, _, memory = await shared(worker)
        batch = pages(2)
        call = Call([None] * 2, batch, 2, asyncio.get_running_loop().create_future())
        picks = [(call, 0), (call, 1)]
        wires: list[Any] = []

        async def answer(method: str, args: tuple[Any, ...]) -> list[Any]:
            wires.append(args[0])
            if len(wires) == 2:
                raise RuntimeError("the worker failed")
            return [(await worker.rpc("jina_run_pack", (0, args[0], None, 0)))[1]]

        sender.rpc = answer
        await sender.answer(picks, 20)
        check(call.results)
        assert [fields[-1] for fields in wires[0][8]] == [0, 28 * 56 * 3]
        with pytest.raises(RuntimeError):
            await sender.answer(picks, 20)
        assert (memory.in_progress, memory.retired) == (0, 1)

    asyncio.run(main())
