"""Packs of small calls: all waiting calls share a pack, one round trip runs it, and two packs are in progress."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ...plugin.packs import Room
from .channel import PackTimes
from .queue import Call, PackQueue, Pick
from .sender import PackSender, inputs_of

# Packs in progress: one that runs, and one that the worker finds when that is done.
_MAX_PACKS_IN_PROGRESS = 2
# The second pack is made and sent some time before the first is expected to end: late, so that it contains calls that
# come meanwhile, but early enough to be there in time. That lead grows by what the device has waited, and shrinks by
# this share with each pack that came in time.
_FIRST_LEAD_S, _MAX_LEAD_S, _LEAD_DECAY = 0.002, 0.03, 0.01
# The device waits this long between two packs even if the second is there.
_USUAL_IDLE_S = 0.0001
# If nothing is in progress and at least this many tokens wait, they become two packs: the host prepares and finishes
# the calls of one while the device runs the other. Calls that share one pack would come back together too, for ever.
_MIN_HALVED_TOKENS = 1024
# The second pack is held back for at most this long.
_MAX_WAIT_S = 0.05
# Weight of the newest measurement in the moving average of a pack's time.
_NEWEST_WEIGHT = 0.3


@dataclass(eq=False)
class _Pack:
    """A pack in progress.

    starts: estimate of the time of the loop's clock when the worker starts it.
    size: as of `_size`.
    was_held: whether it was held back until the lead before the end of another pack.
    """

    picks: list[Pick]
    starts: float
    size: int
    was_held: bool


class SmallPacks:
    """The packs of small calls to one engine. All methods run in the engine's event loop.

    room: what a pack may have at most.
    before_each: called before each pack is sent.
    """

    def __init__(self, sender: PackSender, room: Room, before_each: Callable[[], None] = lambda: None):
        self._sender = sender
        self._before_each = before_each
        self._room = room
        self._queue = PackQueue(room)
        self._calls: set[Call] = set()
        self._in_progress: list[_Pack] = []
        self._tasks: set[asyncio.Task[None]] = set()
        # The timer that will call `_send`, and whether `_send` is called in the loop's next iteration.
        self._timer: asyncio.TimerHandle | None = None
        self._is_soon = False
        # Expected seconds of a pack by its size.
        self._expected: dict[int, float] = {}
        self._lead_s = _FIRST_LEAD_S

    @property
    def num_waiting(self) -> int:
        return len(self._queue)

    def add(self, call: Call) -> None:
        """Queues a call; its `done` is set when its vectors are there, or when it has failed."""
        self._calls.add(call)
        self._queue.add(call, range(len(call.batch)))
        if not self._is_soon:
            # Deferred, so that calls of the same loop iteration share a pack.
            self._is_soon = True
            asyncio.get_running_loop().call_soon(self._send)

    def drop(self, call: Call) -> None:
        """Forgets a call that nobody waits for: queued inputs are not sent, and results of sent ones are ignored."""
        self._calls.discard(call)
        self._queue.drop(call)

    def fail_all(self, error: Exception) -> None:
        """Fails all calls at once, also if the engine will never answer."""
        for call in list(self._calls):
            self._fail(call, error)
        for task in self._tasks:
            task.cancel()

    def _send(self) -> None:
        """Sends a pack of the waiting calls, unless two are in progress, or it is too early for the second."""
        loop = asyncio.get_running_loop()
        self._is_soon = False
        was_held = self._timer is not None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue and len(self._in_progress) < _MAX_PACKS_IN_PROGRESS:
            # A full pack has nothing to wait for.
            holds = self._in_progress and not self._queue.has_full_pack()
            if holds and (wait := self._too_soon_by(loop.time())) > 0:
                self._timer = loop.call_later(wait, self._send)
                return
            picks = self._queue.take(self._next_room())
            size = _size(sum(prepared.num_tokens for prepared in inputs_of(picks)))
            pack = _Pack(picks, loop.time(), size, was_held)
            self._in_progress.append(pack)
            self._before_each()
            task = loop.create_task(self._run(pack))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next_room(self) -> Room:
        """What the next pack may have at most."""
        waiting = self._queue.num_tokens
        if self._in_progress or waiting < _MIN_HALVED_TOKENS:
            return self._room
        return replace(self._room, whole=min(-(-waiting // 2), self._room.whole))

    def _too_soon_by(self, now: float) -> float:
        """Seconds until the second pack should be sent; negative if that time has passed."""
        first = self._in_progress[0]
        ends = first.starts + self._expected.get(first.size, 0.0)
        return min(ends - self._lead_s - now, first.starts + _MAX_WAIT_S - now)

    async def _run(self, pack: _Pack) -> None:
        try:
            self._learn(pack, await self._sender.answer(pack.picks, self._room.tokens))
        except Exception as error:
            await self._answer_each(pack.picks, error)
        finally:
            self._in_progress.remove(pack)
            if self._in_progress:
                self._in_progress[0].starts = asyncio.get_running_loop().time()
            for call in {id(call): call for call, _ in pack.picks}.values():
                if call.done.done():
                    self._calls.discard(call)
            self._send()

    async def _answer_each(self, picks: Sequence[Pick], error: Exception) -> None:
        """Runs each call of a failed pack in a pack alone, so that only the call that caused the failure fails."""
        by_call = [list(group) for _, group in itertools.groupby(sorted(picks, key=_call), key=_call)]
        for own in by_call:
            call = own[0][0]
            if call not in self._calls:
                continue
            if len(by_call) > 1:
                try:
                    await self._sender.answer(own, self._room.tokens)
                    continue
                except Exception as own_error:
                    error = own_error
            self._fail(call, error)

    def _fail(self, call: Call, error: Exception) -> None:
        self.drop(call)
        call.fail(error)

    def _learn(self, pack: _Pack, times: PackTimes | None) -> None:
        took = asyncio.get_running_loop().time() - pack.starts if times is None else times.took
        known = self._expected.get(pack.size, took)
        self._expected[pack.size] = known + _NEWEST_WEIGHT * (took - known)
        if times is not None and pack.was_held:
            late = times.idle - _USUAL_IDLE_S
            lead = self._lead_s + late if late > 0 else self._lead_s * (1 - _LEAD_DECAY)
            self._lead_s = min(lead, _MAX_LEAD_S)


def _size(num_tokens: int) -> int:
    """A class of pack sizes that take about the same time: four classes between a power of two and the next."""
    bits = num_tokens.bit_length()
    return 8 * bits + (8 * num_tokens >> bits)


def _call(pick: Pick) -> int:
    return id(pick[0])
