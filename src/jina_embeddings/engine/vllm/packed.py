"""Bulk work around vLLM's scheduler: packs go straight to its workers, one call a pack."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...errors import EngineError
from ...inputs.patches import ImageConfig
from ...plugin.packs import make_pack, split_vectors
from ...types import Prepared, Task
from .queue import Call, PackQueue, Pick

logger = logging.getLogger(__name__)

WORKER_EXTENSION = "jina_embeddings.plugin.packed.worker.PackedWorker"

# Between two questions whether the last pack is done.
_POLL_S = 0.001

Rpc = Callable[..., Awaitable[Any]]


class PackedPath:
    """Sends packs to the workers of one engine and puts the vectors in order.

    rpc: `collective_rpc` of vLLM's engine.
    adapters: name, number and folder of each task's LoRA; empty where the weights have one merged.
    max_tokens: of a pack; at most the engine's `max_num_batched_tokens`, which its buffers are made for.
    half: multi-vectors travel as float16.
    """

    def __init__(
        self,
        rpc: Rpc,
        adapters: dict[Task, tuple[str, int, str]],
        image_config: ImageConfig,
        *,
        max_tokens: int,
        hidden_size: int,
        multivector_dim: int | None,
        half: bool,
    ):
        self.max_tokens = max_tokens
        self._rpc = rpc
        self._adapters = adapters
        self._image_config = image_config
        self._hidden_size = hidden_size
        self._multivector_dim = multivector_dim or 0
        self._half = half
        self._tickets = itertools.count()
        self._queue = PackQueue(max_tokens)
        self._calls: set[Call] = set()
        self._pump: asyncio.Future[None] | None = None
        # What each task's packs run on, and why; filled when its first pack comes.
        self.choices: dict[Task, str] = {}

    async def fill(self, results: list[Any], batch: Sequence[Prepared], chosen: Sequence[int]) -> None:
        """Puts the results of the chosen inputs, by index, in their places, as they come.

        No input may have more than `max_tokens` tokens. Calls that are under way together share packs.
        """
        if not chosen:
            return
        call = Call(results, batch, len(chosen), asyncio.get_running_loop().create_future())
        self._calls.add(call)
        self._queue.add(call, chosen)
        if self._pump is None:
            self._pump = asyncio.ensure_future(self._run())
        try:
            await call.done
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
                if not (failed and earlier) and (picks := self._queue.take()):
                    following = _Pack(next(self._tickets), picks)
                try:
                    if following is None and earlier is not None and not await self._is_done(earlier):
                        continue
                    answers = await self._exchange(following, earlier)
                    if earlier is not None:
                        self._place(earlier, answers)
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

    async def _exchange(self, start: _Pack | None, fetch: _Pack | None) -> list[bytes | None]:
        """Starts one pack, and returns what the workers answer with the vectors of the other."""
        ticket, wire, adapter = None, None, None
        if start is not None:
            inputs = start.inputs
            wire = make_pack(inputs, self._image_config, half=self._half and inputs[0].multivector).to_wire()
            adapter = await self._adapter(inputs[0].task)
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

    async def _adapter(self, task: Task) -> tuple[str, int, str] | None:
        """The task's adapter; before its first pack the workers choose the weights that it runs on."""
        adapter = self._adapters.get(task)
        if adapter is not None and task not in self.choices:
            ((merged, reason), *_) = await self._rpc("jina_choose_weights", args=(adapter,))
            self.choices[task] = f"{'merged weights' if merged else 'LoRA'}: {reason}"
            logger.info("packs of %s run on %s", task, self.choices[task])
        return adapter

    def _place(self, pack: _Pack, answers: list[bytes | None]) -> None:
        """Puts the vectors of one pack where they belong; one of the workers has sent them."""
        data = next((answer for answer in answers if answer is not None), None)
        if data is None:
            raise EngineError("no worker sent the vectors of a pack")
        inputs = pack.inputs
        multivector = inputs[0].multivector
        width = self._multivector_dim if multivector else self._hidden_size
        vectors = split_vectors(data, inputs, width, half=self._half and multivector)
        for (call, index), vector in zip(pack.picks, vectors, strict=True):
            call.place(index, vector)


@dataclass(frozen=True, slots=True)
class _Pack:
    """One pack under way. ticket: under which the workers keep its vectors."""

    ticket: int
    picks: list[Pick]

    @property
    def inputs(self) -> list[Prepared]:
        return [call.batch[index] for call, index in self.picks]
