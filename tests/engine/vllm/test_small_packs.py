"""How small calls share packs, with a sender that only notes them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from jina_embeddings.engine.vllm import small_packs
from jina_embeddings.engine.vllm.channel import PackTimes
from jina_embeddings.engine.vllm.queue import Call
from jina_embeddings.engine.vllm.small_packs import SmallPacks
from jina_embeddings.plugin.packs import Room
from jina_embeddings.types import Prepared

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from jina_embeddings.engine.vllm.queue import Pick

# Seconds that a pack of the sender takes; long beside what the event loop needs.
TOOK_S = 0.2


class Sender:
    """Answers each pack after a time, one pack after another.

    idle_s, took_s: reported as the times that the device waited and took.
    """

    def __init__(self, idle_s: float = 0.0, took_s: float = TOOK_S):
        self.sizes: list[int] = []
        self.sent_at: list[float] = []
        self._times = PackTimes(took_s, idle_s)
        self._turn = asyncio.Lock()

    async def answer(self, picks: Sequence[Pick], max_tokens: int) -> PackTimes:
        self.sizes.append(len(picks))
        self.sent_at.append(asyncio.get_running_loop().time())
        async with self._turn:
            await asyncio.sleep(TOOK_S)
        for call, index in picks:
            call.place(index, len(picks))
        return self._times


def text(num_tokens: int) -> Prepared:
    return Prepared(np.arange(num_tokens, dtype=np.int32), "retrieval", ((0, num_tokens),))


def call_of(num_tokens: int) -> Call:
    batch = [text(num_tokens)]
    return Call([None], batch, 1, asyncio.get_running_loop().create_future())


def with_packs(test: Callable[[SmallPacks, Any], Awaitable[None]], idle_s: float = 0.0, took_s: float = TOOK_S) -> None:
    async def main() -> None:
        sender: Any = Sender(idle_s, took_s)
        await asyncio.wait_for(test(SmallPacks(sender, Room.of_graph(4096)), sender), 20)

    asyncio.run(main())


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_packs, "_MAX_WAIT_S", 10 * TOOK_S)
    monkeypatch.setattr(small_packs, "_MAX_LEAD_S", TOOK_S)


async def embed(packs: SmallPacks, counts: Sequence[int]) -> None:
    calls = [call_of(count) for count in counts]
    for call in calls:
        packs.add(call)
    await asyncio.gather(*(call.done for call in calls))  # type: ignore[call-overload]


def test_calls_that_come_together_share_a_pack() -> None:
    async def test(packs: SmallPacks, sender: Sender) -> None:
        await embed(packs, [20] * 8)
        assert sender.sizes == [8]

    with_packs(test)


def test_many_become_two_packs_so_that_the_host_works_while_the_device_does() -> None:
    async def test(packs: SmallPacks, sender: Sender) -> None:
        await embed(packs, [32] * 64)
        assert sender.sizes == [32, 32]

    with_packs(test)


def test_one_long_text_is_one_pack() -> None:
    async def test(packs: SmallPacks, sender: Sender) -> None:
        await embed(packs, [3000])
        assert sender.sizes == [1]

    with_packs(test)


def test_the_second_pack_waits_for_more_calls_until_shortly_before_the_first_ends() -> None:
    async def test(packs: SmallPacks, sender: Sender) -> None:
        await embed(packs, [20])
        first = asyncio.ensure_future(embed(packs, [20]))
        await asyncio.sleep(TOOK_S / 5)
        more = [asyncio.ensure_future(embed(packs, [20])) for _ in range(2)]
        await asyncio.sleep(TOOK_S / 5)
        await asyncio.gather(first, *more, embed(packs, [20]))
        assert sender.sizes == [1, 1, 3]
        assert TOOK_S / 2 < sender.sent_at[2] - sender.sent_at[1] < 1.5 * TOOK_S

    with_packs(test)


def test_a_full_second_pack_is_sent_at_once() -> None:
    async def test(packs: SmallPacks, sender: Any) -> None:
        # From then on it is known how long a pack of this size takes.
        await embed(packs, [4000])
        sender.sent_at.clear()
        await embed(packs, [400] * 40)
        assert sender.sent_at[1] - sender.sent_at[0] < TOOK_S / 4

    with_packs(test)


@pytest.mark.parametrize(("idle_s", "earlier"), [(0.0, False), (0.06, True)])
def test_after_a_pack_for_which_the_device_has_waited_the_next_is_sent_earlier(idle_s: float, earlier: bool) -> None:
    async def test(packs: SmallPacks, sender: Sender) -> None:
        await embed(packs, [20])
        for _ in range(3):
            first = asyncio.ensure_future(embed(packs, [20]))
            await asyncio.sleep(TOOK_S / 10)
            await asyncio.gather(first, embed(packs, [20]))
        waits = [later - sent for sent, later in zip(sender.sent_at[1::2], sender.sent_at[2::2], strict=True)]
        assert (waits[0] - waits[2] > 0.06) is earlier

    with_packs(test, idle_s)


def test_what_a_pack_takes_is_the_devices_time_and_not_the_hosts() -> None:
    """The host's contains its own delays: a second pack that comes late would make the next ones come later."""

    async def test(packs: SmallPacks, sender: Sender) -> None:
        await embed(packs, [20])
        first = asyncio.ensure_future(embed(packs, [20]))
        await asyncio.sleep(TOOK_S / 20)
        await asyncio.gather(first, embed(packs, [20]))
        assert sender.sent_at[2] - sender.sent_at[1] < 0.7 * TOOK_S

    with_packs(test, took_s=TOOK_S / 4)
