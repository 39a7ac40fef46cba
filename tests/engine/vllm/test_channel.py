"""Both ends of the connection that small packs take, in one process, with what launches them replaced."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from jina_embeddings.engine.vllm.channel import Answer, Channel
from jina_embeddings.errors import EngineError
from jina_embeddings.inputs.patches import ImageConfig
from jina_embeddings.plugin.packed.channel import DeviceClock, Launched, PackChannel
from jina_embeddings.plugin.packed.transfer import Arrival
from jina_embeddings.plugin.packs import Pack, make_pack
from jina_embeddings.types import Prepared

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Launch = Callable[[Pack, int], Arrival | None]


def wire_of(*lengths: int) -> list[Any]:
    batch = [Prepared(np.full(length, length, np.int32), "code", ((0, length),)) for length in lengths]
    return make_pack(batch, ImageConfig(), half=False, small=True).to_wire()


def sums(pack: Pack, number: int) -> Arrival | None:
    """A vector of one number for each prompt; no graph holds more than 100 tokens."""
    if number < 0:
        raise ValueError("no such adapter")
    if pack.num_tokens > 100:
        return None
    return Arrival.of(torch.from_numpy(pack.lengths * 10.0 + number).float())


def with_channel(test: Callable[[Channel], Awaitable[None]], launch: Launch = sums) -> None:
    async def rpc(method: str, args: tuple[str]) -> list[None]:
        assert method == "jina_open_channel"
        await asyncio.to_thread(PackChannel, *args, launch, torch.device("cpu"))
        return [None]

    async def main() -> None:
        channel = await Channel.open(rpc)
        try:
            await asyncio.wait_for(test(channel), 20)
        finally:
            channel.close()

    asyncio.run(main())


def numbers(answer: Answer) -> list[float]:
    assert answer.vectors is not None
    return list(np.frombuffer(answer.vectors, np.float32))


def test_each_pack_gets_its_own_vectors_in_any_number() -> None:
    async def test(channel: Channel) -> None:
        asked = [channel.answer(wire_of(*range(1, count)), count) for count in range(2, 14)]
        for count, answer in enumerate(await asyncio.gather(*asked), start=2):
            assert numbers(answer) == [10.0 * length + count for length in range(1, count)]

    with_channel(test)


def test_answers_larger_than_one_read_arrive_whole() -> None:
    async def test(channel: Channel) -> None:
        answers = await asyncio.gather(*(channel.answer(wire_of(3), 1) for _ in range(3)))
        assert [len(answer.vectors or b"") for answer in answers] == [4 * 3_000_000] * 3

    with_channel(test, lambda pack, number: Arrival.of(torch.zeros(3_000_000)))


def test_the_next_pack_is_launched_while_one_runs() -> None:
    class Slow(Arrival):
        """Arrives once two packs are launched."""

        def wait(self) -> torch.Tensor:
            launched.wait(10)
            return self.tensor

    launched = threading.Event()
    seen: list[int] = []

    def launch(pack: Pack, number: int) -> Arrival:
        seen.append(number)
        if len(seen) == 2:
            launched.set()
        return Slow(torch.zeros(1), None)

    async def test(channel: Channel) -> None:
        await asyncio.gather(channel.answer(wire_of(1), 1), channel.answer(wire_of(1), 2))
        assert seen == [1, 2]

    with_channel(test, launch)


def test_what_no_graph_holds_is_said_and_the_next_is_answered() -> None:
    async def test(channel: Channel) -> None:
        assert (await channel.answer(wire_of(101), 0)).vectors is None
        assert numbers(await channel.answer(wire_of(5), 0)) == [50.0]

    with_channel(test)


def test_a_pack_that_fails_is_an_error_of_its_own() -> None:
    async def test(channel: Channel) -> None:
        failing, good = channel.answer(wire_of(5), -1), channel.answer(wire_of(5), 3)
        with pytest.raises(EngineError, match="ValueError: no such adapter"):
            await failing
        assert numbers(await good) == [53.0]

    with_channel(test)


def test_a_caller_who_goes_away_leaves_nothing_behind() -> None:
    async def test(channel: Channel) -> None:
        task = asyncio.ensure_future(channel.answer(wire_of(5), 0))
        await asyncio.sleep(0)
        task.cancel()
        assert numbers(await channel.answer(wire_of(6), 0)) == [60.0]
        assert not channel._waiting

    with_channel(test)


def test_a_message_that_can_not_be_read_ends_the_connection_and_leaves_nobody_waiting() -> None:
    async def test(channel: Channel) -> None:
        waiting = asyncio.ensure_future(channel.answer(wire_of(5), 0))
        await asyncio.sleep(0)
        assert channel._transport is not None
        channel._transport.write((1).to_bytes(8, "little") + b"\xc1")
        later = asyncio.ensure_future(channel.answer(wire_of(5), 0))
        ends = await asyncio.gather(waiting, later, return_exceptions=True)
        assert isinstance(ends[-1], EngineError)

    with_channel(test)


def test_a_worker_that_is_gone_is_an_error_at_once() -> None:
    async def test(channel: Channel) -> None:
        waiting = asyncio.ensure_future(channel.answer(wire_of(5), 0))
        await asyncio.sleep(0.2)
        channel.close()
        with pytest.raises(EngineError, match="closed"):
            await waiting
        with pytest.raises(EngineError, match="closed"):
            await channel.answer(wire_of(5), 0)

    hold = threading.Event()

    def launch(pack: Pack, number: int) -> Arrival | None:
        hold.wait(5)
        return None

    with_channel(test, launch)
    hold.set()


class At:
    """A fake of a CUDA event: the time at which the device reached it, in milliseconds."""

    def __init__(self, time: float):
        self._time = time

    def elapsed_time(self, later: At) -> float:
        return later._time - self._time


def test_packs_are_timed_by_the_device_from_when_it_began_them() -> None:
    """The second pack was there when the first ended; for the third the device waited."""
    clock = DeviceClock()
    found = []
    for begin, end in ((0.0, 10.0), (10.0, 14.0), (20.0, 21.0)):
        events: Any = At(begin), At(end)
        found.append(clock.times(Launched(Arrival(torch.zeros(1), events[1]), events[0])))
    assert found == [(0.01, 0.0), (0.004, 0.0), (0.001, 0.006)]
