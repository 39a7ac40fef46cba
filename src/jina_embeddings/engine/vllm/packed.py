"""Large calls: packs are sent to vLLM's workers directly, without the scheduler, with one RPC for each pack."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...plugin.packs import Room
from ...types import Prepared
from .queue import Call, PackQueue, Pick
from .sender import Message, PackSender

WORKER_EXTENSION = "jina_embeddings.plugin.packed.worker.PackedWorker"

# Time between two checks whether the last pack is done.
_POLL_S = 0.001
# For this long after a small call, packs have half the size, so that small calls run between two of them.
_HALF_PACKS_S = 2.0


class PackedPath:
    """Sends packs to the workers of one engine, and returns vectors in the order of the inputs.

    max_tokens: the most tokens of a pack; at most the engine's `max_num_batched_tokens`, the size of its buffers.
    """

    def __init__(self, sender: PackSender, max_tokens: int):
        self.max_tokens = max_tokens
        self._sender = sender
        self._rpc = sender.rpc
        self._tickets = itertools.count()
        self._queue = PackQueue(Room.of_pack(max_tokens))
        self._calls: set[Call] = set()
        self._pump: asyncio.Future[None] | None = None
        # The next pack, which is made while the workers run others, and whether they have an RPC of this path.
        self._ahead: _Pack | None = None
        self._is_exchanging = False
        # Packs have half the size until this time of the loop's clock.
        self._half_packs_until = 0.0

    def halve_packs(self) -> None:
        """Halves the size of packs for `_HALF_PACKS_S`, so that a small call waits less for the pack that runs."""
        self._half_packs_until = asyncio.get_running_loop().time() + _HALF_PACKS_S

    async def fill(self, results: list[Any], batch: Sequence[Prepared], chosen: Sequence[int]) -> None:
        """Embeds inputs and writes their vectors to `results`. Concurrent calls share packs.

        chosen: the indices of the inputs; none may have more than `max_tokens` tokens.
        """
        if not chosen:
            return
        done = asyncio.get_running_loop().create_future()
        call = Call(results, batch, len(chosen), done)
        self._calls.add(call)
        self._queue.add(call, chosen)
        if self._pump is None:
            self._pump = asyncio.ensure_future(self._run())
        self._make_ahead()
        try:
            await done
        finally:
            self._calls.discard(call)
            self._queue.drop(call)
            if not self._calls and self._pump is not None:
                # No call is left, and the pump may be waiting for a pack.
                pump, self._pump = self._pump, None
                pump.cancel()
                await asyncio.wait({pump})

    async def _run(self) -> None:
        """Sends packs while inputs wait: the worker runs one while the next is made and sent.

        The RPC that starts a pack returns the vectors of the one before. If nothing waits, the worker is polled until
        the last pack is done, as an RPC that waited for it would keep the worker from starting another pack.
        """
        earlier: _Pack | None = None
        following: _Pack | None = None
        failed = False
        try:
            while self._queue or self._ahead or earlier:
                following = None
                # After a failure, the earlier pack is fetched alone, which shows which of the two failed.
                if not (failed and earlier):
                    following = self._next()
                if following is None and earlier is None:
                    continue
                try:
                    if following is None and earlier is not None and not await self._is_done(earlier):
                        continue
                    answers = await self._exchange(following, earlier)
                    if earlier is not None:
                        self._place(earlier, answers)
                except Exception as error:
                    failed = True
                    # The pack that was to be started is more likely to have failed; the other is fetched again.
                    blamed = following or earlier
                    assert blamed is not None
                    await self._give_up(blamed, error)
                    earlier = earlier if following is not None else None
                    continue
                earlier, failed = following, False
        except Exception as error:  # a bug in this method must not leave calls waiting for ever
            for call in self._calls:
                call.fail(error)
        finally:
            if self._pump is asyncio.current_task():
                self._pump = None
            ahead, self._ahead = self._ahead, None
            if ahead is not None:
                self._drop(ahead)
            for pack in {id(pack): pack for pack in (earlier, following) if pack is not None}.values():
                await self._forget(pack)

    def _next(self) -> _Pack | None:
        """The next pack: the one made ahead, unless nobody waits for it any more, or one of the waiting inputs."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            if not all(call.done.done() for call, _ in ahead.picks):
                return ahead
            self._drop(ahead)
        picks = self._queue.take(self._room())
        return self._begun(picks) if picks else None

    def _begun(self, picks: list[Pick]) -> _Pack:
        return _Pack(next(self._tickets), picks, asyncio.ensure_future(self._sender.message(picks, self.max_tokens)))

    def _make_ahead(self) -> None:
        """Begins to make the next pack while the worker runs others, if the inputs that wait fill it."""
        if self._is_exchanging and self._ahead is None and self._queue.has_full_pack(self._room()):
            self._ahead = self._begun(self._queue.take(self._room()))

    def _room(self) -> Room:
        sparing = asyncio.get_running_loop().time() < self._half_packs_until
        return Room.of_pack(self.max_tokens // 2 if sparing else self.max_tokens)

    async def _exchange(self, start: _Pack | None, fetch: _Pack | None) -> list[bytes | None]:
        """Starts one pack and fetches another; returns the workers' answers, of which one has the vectors."""
        ticket, wire, adapter = None, None, None
        if start is not None:
            message = await start.message
            ticket, wire, adapter = start.ticket, message.wire, message.adapter
        args = (ticket, wire, adapter, None if fetch is None else fetch.ticket)
        self._is_exchanging = True
        try:
            self._make_ahead()
            answers: list[bytes | None] = await self._rpc("jina_run_pack", args=args)
        finally:
            self._is_exchanging = False
        return answers

    def _place(self, pack: _Pack, answers: list[bytes | None]) -> None:
        self._sender.place(pack.picks, answers)
        self._sender.answered(pack.message.result())

    async def _is_done(self, pack: _Pack) -> bool:
        """Whether all workers have the pack's vectors; if not, it waits for `_POLL_S`."""
        if all(await self._rpc("jina_pack_is_done", args=(pack.ticket,))):
            return True
        await asyncio.sleep(_POLL_S)
        return False

    async def _give_up(self, pack: _Pack, error: Exception) -> None:
        """Fails the calls that have inputs in the pack; other calls go on."""
        for call in {id(call): call for call, _ in pack.picks}.values():
            call.fail(error)
            self._queue.drop(call)
        await self._forget(pack)

    async def _forget(self, pack: _Pack) -> None:
        """Frees a result that nobody will fetch. Errors are ignored here, as the next RPC raises them too."""
        self._drop(pack)
        with suppress(Exception):
            await self._rpc("jina_forget_pack", args=(pack.ticket,))

    def _drop(self, pack: _Pack) -> None:
        """Gives up the message of a pack, made or not."""
        if not pack.message.cancel() and not pack.message.cancelled() and pack.message.exception() is None:
            self._sender.abandoned(pack.message.result())


@dataclass(frozen=True, slots=True)
class _Pack:
    """A pack on its way to the workers, and back.

    ticket: the key under which the workers keep its vectors.
    message: is being made, or was; cancelled, it frees what it has taken.
    """

    ticket: int
    picks: list[Pick]
    message: asyncio.Future[Message]
