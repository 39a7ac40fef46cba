"""Small calls: what waits goes together in one pack, one RPC runs it and brings its vectors, and two are under way."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .queue import Call, PackQueue, Pick
from .sender import PackSender, inputs_of

# Packs under way: one that runs, and one that the worker finds when that is done.
_AT_ONCE = 2
# How long before the end of the first the second is made and sent: as late as possible, so that it takes with it what
# comes meanwhile, and early enough to be there. Making it takes the host longer the more inputs it has.
_LEAD_S, _LEAD_EACH_S = 0.002, 25e-6
# At most so long is the second held back, however long packs have taken.
_LONGEST_WAIT_S = 0.05
# Weight of the newest of a size's times in what is expected of the next.
_NEWEST = 0.3


@dataclass(eq=False)
class _Pack:
    """One pack under way. starts: when the worker takes it up, by the loop's clock, as far as is known."""

    picks: list[Pick]
    starts: float
    size: int


class SmallPacks:
    """The packs of small calls to one engine. All of it runs in the engine's event loop.

    max_tokens: of a pack.
    before_each: called with each pack that is sent.
    """

    def __init__(self, sender: PackSender, max_tokens: int, before_each: Callable[[], None] = lambda: None):
        self._sender = sender
        self._before_each = before_each
        self._queue = PackQueue(max_tokens)
        self._calls: set[Call] = set()
        self._under_way: list[_Pack] = []
        self._tasks: set[asyncio.Task[None]] = set()
        # What calls `_send` later, and whether something does so in the loop's next turn.
        self._timer: asyncio.TimerHandle | None = None
        self._is_soon = False
        # Seconds of a pack by its size.
        self._expected: dict[int, float] = {}

    @property
    def num_waiting(self) -> int:
        return len(self._queue)

    def add(self, call: Call) -> None:
        """Its `done` is set when its vectors are there, or fails."""
        self._calls.add(call)
        self._queue.add(call, range(len(call.batch)))
        if not self._is_soon:
            # Calls that come at the same time go in one pack.
            self._is_soon = True
            asyncio.get_running_loop().call_soon(self._send)

    def drop(self, call: Call) -> None:
        """Nobody waits for the call any more: what has not been sent of it isn't, and what has is thrown away."""
        self._calls.discard(call)
        self._queue.drop(call)

    def fail_all(self, error: Exception) -> None:
        """Every waiting call fails at once, also where the engine will never answer."""
        for call in list(self._calls):
            self._fail(call, error)
        for task in self._tasks:
            task.cancel()

    def _send(self) -> None:
        """Sends what waits, unless two packs are under way, or the second would leave too soon."""
        loop = asyncio.get_running_loop()
        self._is_soon = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue and len(self._under_way) < _AT_ONCE:
            if self._under_way and (wait := self._too_soon_by(loop.time())) > 0:
                self._timer = loop.call_later(wait, self._send)
                return
            picks = self._queue.take()
            pack = _Pack(picks, loop.time(), _size(sum(prepared.num_tokens for prepared in inputs_of(picks))))
            self._under_way.append(pack)
            self._before_each()
            task = loop.create_task(self._run(pack))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _too_soon_by(self, now: float) -> float:
        """Seconds until the second pack should leave."""
        first = self._under_way[0]
        ends = first.starts + self._expected.get(first.size, 0.0)
        lead = _LEAD_S + _LEAD_EACH_S * len(self._queue)
        return min(ends - lead - now, first.starts + _LONGEST_WAIT_S - now)

    async def _run(self, pack: _Pack) -> None:
        try:
            await self._sender.answer(pack.picks)
            self._learn(pack)
        except Exception as error:
            await self._answer_each(pack.picks, error)
        finally:
            self._under_way.remove(pack)
            if self._under_way:
                self._under_way[0].starts = asyncio.get_running_loop().time()
            for call in {id(call): call for call, _ in pack.picks}.values():
                if call.done.done():
                    self._calls.discard(call)
            self._send()

    async def _answer_each(self, picks: Sequence[Pick], error: Exception) -> None:
        """After a pack failed: each of its calls alone, so that only the one to blame fails."""
        by_call = [list(group) for _, group in itertools.groupby(sorted(picks, key=_call), key=_call)]
        for own in by_call:
            call = own[0][0]
            if call not in self._calls:
                continue
            if len(by_call) > 1:
                try:
                    await self._sender.answer(own)
                    continue
                except Exception as own_error:
                    error = own_error
            self._fail(call, error)

    def _fail(self, call: Call, error: Exception) -> None:
        self.drop(call)
        call.fail(error)

    def _learn(self, pack: _Pack) -> None:
        took = asyncio.get_running_loop().time() - pack.starts
        known = self._expected.get(pack.size, took)
        self._expected[pack.size] = known + _NEWEST * (took - known)


def _size(num_tokens: int) -> int:
    """One number for packs that take about as long: there are four between a power of two and the next."""
    bits = num_tokens.bit_length()
    return 8 * bits + (8 * num_tokens >> bits)


def _call(pick: Pick) -> int:
    return id(pick[0])
