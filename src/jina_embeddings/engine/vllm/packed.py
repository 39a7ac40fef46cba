"""Bulk work around vLLM's scheduler: packs go straight to its workers, one call a pack."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...types import Prepared
from .queue import Call, PackQueue, Pick
from .sender import PackSender

WORKER_EXTENSION = "jina_embeddings.plugin.packed.worker.PackedWorker"

# Between two questions whether the last pack is done.
_POLL_S = 0.001
# How long packs stay small after a small call.
_SPARING_S = 2.0


class PackedPath:
    """Sends packs to the workers of one engine and puts the vectors in order.

    max_tokens: of a pack; at most the engine's `max_num_batched_tokens`, which its buffers are made for.
    """

    def __init__(self, sender: PackSender, max_tokens: int):
        self.max_tokens = max_tokens
        self._sender = sender
        self._rpc = sender.rpc
        self._tickets = itertools.count()
        self._queue = PackQueue(max_tokens)
        self._calls: set[Call] = set()
        self._pump: asyncio.Future[None] | None = None
        # Until when, by the loop's clock, packs are small enough for others to go between them.
        self._sparing_until = 0.0

    def spare(self) -> None:
        """For a while packs are half as large: what another call waits for goes between two of them."""
        self._sparing_until = asyncio.get_running_loop().time() + _SPARING_S

    async def fill(self, results: list[Any], batch: Sequence[Prepared], chosen: Sequence[int]) -> None:
        """Puts the results of the chosen inputs, by index, in their places, as they come.

        No input may have more than `max_tokens` tokens. Calls that are under way together share packs.
        """
        if not chosen:
            return
        done = asyncio.get_running_loop().create_future()
        call = Call(results, batch, len(chosen), done)
        self._calls.add(call)
        self._queue.add(call, chosen)
        if self._pump is None:
            self._pump = asyncio.ensure_future(self._run())
        try:
            await done
        finally:
            self._calls.discard(call)
            self._queue.drop(call)
            if not self._calls and self._pump is not None:
                # Nobody wants what it has started, and it may be waiting for that.
                pump, self._pump = self._pump, None
                pump.cancel()
                await asyncio.wait({pump})

    async def _run(self) -> None:
        """Sends packs while there are any: the worker runs one while the next is made and sent.

        The call that starts a pack returns the vectors of the one before. Where nothing waits to be started, it is
        asked for again and again whether the last pack is done: a call that waited for it would keep the worker from
        starting what comes meanwhile.
        """
        earlier: _Pack | None = None
        following: _Pack | None = None
        failed = False
        try:
            while self._queue or earlier:
                following = None
                # After a failure the earlier pack is fetched alone, which tells whose fault it was.
                if not (failed and earlier) and (picks := self._queue.take(self._budget())):
                    following = _Pack(next(self._tickets), picks)
                try:
                    if following is None and earlier is not None and not await self._is_done(earlier):
                        continue
                    answers = await self._exchange(following, earlier)
                    if earlier is not None:
                        self._sender.place(earlier.picks, answers)
                except Exception as error:
                    failed = True
                    # Of the two, the one that was to start is more likely to blame; the other's turn comes again.
                    blamed = following or earlier
                    assert blamed is not None
                    await self._give_up(blamed, error)
                    earlier = earlier if following is not None else None
                    continue
                earlier, failed = following, False
        except Exception as error:  # a mistake in here: nobody must wait for ever
            for call in self._calls:
                call.fail(error)
        finally:
            if self._pump is asyncio.current_task():
                self._pump = None
            for ticket in {pack.ticket for pack in (earlier, following) if pack is not None}:
                await self._forget(ticket)

    def _budget(self) -> int:
        sparing = asyncio.get_running_loop().time() < self._sparing_until
        return self.max_tokens // 2 if sparing else self.max_tokens

    async def _exchange(self, start: _Pack | None, fetch: _Pack | None) -> list[bytes | None]:
        """Starts one pack, and returns what the workers answer with the vectors of the other."""
        ticket, wire, adapter = None, None, None
        if start is not None:
            wire, adapter = await self._sender.message(start.picks)
            ticket = start.ticket
        args = (ticket, wire, adapter, None if fetch is None else fetch.ticket)
        answers: list[bytes | None] = await self._rpc("jina_run_pack", args=args)
        return answers

    async def _is_done(self, pack: _Pack) -> bool:
        """Whether all workers have the pack's vectors; if not, a moment passes."""
        if all(await self._rpc("jina_pack_is_done", args=(pack.ticket,))):
            return True
        await asyncio.sleep(_POLL_S)
        return False

    async def _give_up(self, pack: _Pack, error: Exception) -> None:
        """The calls that have inputs in the pack fail; the others go on."""
        for call in {id(call): call for call, _ in pack.picks}.values():
            call.fail(error)
            self._queue.drop(call)
        await self._forget(pack.ticket)

    async def _forget(self, ticket: int) -> None:
        """Frees a result that nobody will fetch; where that fails, the engine has more to say to the next call."""
        with suppress(Exception):
            await self._rpc("jina_forget_pack", args=(ticket,))


@dataclass(frozen=True, slots=True)
class _Pack:
    """One pack under way. ticket: under which the workers keep its vectors."""

    ticket: int
    picks: list[Pick]
