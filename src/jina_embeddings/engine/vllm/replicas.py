"""One engine a device behind one face: each piece of work goes to the one with the least under way."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import EngineDeadError
from ...plugin.packs import by_beginning
from ...types import Prepared
from ..base import Engine
from ..batching import Kind, by_kind, kind_of
from .loop import LoopThread

if TYPE_CHECKING:
    from ...types import FloatArray


logger = logging.getLogger(__name__)

# Of one piece of work, in packs: little, so that all engines end at about the same time. They fill packs across pieces.
_PIECE = 0.5
# Packs of one kind under way in one engine above which it gets no more of that kind: one that runs, one that follows,
# and enough beside them to fill the next, of which beginnings run once.
_AHEAD = 9


@dataclass(eq=False)
class _Replica:
    """One engine. under_way: tokens of each kind."""

    number: int
    engine: Engine
    under_way: Counter[Kind] = field(default_factory=Counter)
    alive: bool = True


class Replicas:
    """Engines with the same weights. One that dies is reported in the log, and the others do its work.

    pack_tokens: of a pack on these engines.
    """

    name = "vllm"
    chunk_size = 256

    def __init__(self, engines: Sequence[Engine], pack_tokens: int):
        self.engines = list(engines)
        self.max_length = engines[0].max_length
        # Two for each engine, and one that is prepared or finished.
        self.calls_at_once = 1 + 2 * len(engines)
        self._pack_tokens = pack_tokens
        self._replicas = [_Replica(number, engine) for number, engine in enumerate(engines)]
        self._loop = LoopThread("jina-embeddings-replicas")
        self._freed = asyncio.Condition()

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        return self._loop.run(self._run(batch, call_size))

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        return await self._loop.arun(self._run(batch, call_size))

    @property
    def alive(self) -> bool:
        return not self._loop.stopping and any(engine.alive for engine in self.engines)

    def close(self) -> None:
        if self._loop.stopping:
            return
        self._loop.cancel()
        for engine in self.engines:
            engine.close()
        self._loop.stop()

    async def _run(self, batch: Sequence[Prepared], call_size: int | None) -> list[FloatArray]:
        results: list[Any] = [None] * len(batch)
        pieces = plan_packs(batch, int(_PIECE * self._pack_tokens))
        ends = await asyncio.gather(
            *(self._run_piece(results, batch, piece, call_size or len(batch)) for piece in pieces),
            return_exceptions=True,
        )
        # What is wrong with the work says more than an engine's death.
        for error in sorted((end for end in ends if end), key=lambda end: isinstance(end, EngineDeadError)):
            if isinstance(error, EngineDeadError):
                not_done = [index for index, result in enumerate(results) if result is None]
                raise EngineDeadError(error.reason, not_done, results) from error
            raise error
        return results

    async def _run_piece(self, results: list[Any], batch: Sequence[Prepared], piece: list[int], call_size: int) -> None:
        inputs = [batch[index] for index in piece]
        num_tokens = sum(prepared.num_tokens for prepared in inputs)
        kind = kind_of(inputs[0])
        outputs = None
        while outputs is None:
            replica = await self._least_busy(kind)
            replica.under_way[kind] += num_tokens
            try:
                outputs = await replica.engine.arun(inputs, call_size=call_size)
            except EngineDeadError as error:
                self._bury(replica, error)
            finally:
                replica.under_way[kind] -= num_tokens
                async with self._freed:
                    self._freed.notify_all()
        for index, output in zip(piece, outputs, strict=True):
            results[index] = output

    async def _least_busy(self, kind: Kind) -> _Replica:
        """The engine that gets the next piece of that kind; waits while all of them have enough."""
        limit = _AHEAD * self._pack_tokens

        def ready() -> list[_Replica]:
            return [one for one in self._replicas if one.alive and one.under_way[kind] < limit]

        async with self._freed:
            await self._freed.wait_for(lambda: ready() or not any(one.alive for one in self._replicas))
        if not (engines := ready()):
            raise EngineDeadError(
                "the processes of all engines have ended; their logs say why. Make a new JinaEmbeddings"
            )
        return min(engines, key=lambda one: one.under_way.total())

    def _bury(self, replica: _Replica, error: EngineDeadError) -> None:
        if replica.alive:
            replica.alive = False
            left = sum(one.alive for one in self._replicas)
            logger.error("engine %d of %d: %s; %d go on", replica.number + 1, len(self._replicas), error.reason, left)


def start_on_devices(make: Callable[[], Engine], devices: Sequence[Sequence[str]]) -> list[Engine]:
    """`make()` for each list of devices, side by side, with only those visible to the processes that it starts.

    An empty list leaves what is visible as it is. If one engine fails to start, the others are closed.
    """
    with ThreadPoolExecutor(len(devices), "jina-embeddings-start") as pool:
        futures = []
        for names in devices:
            with _visible(names):
                before = set(multiprocessing.active_children())
                future = pool.submit(make)
                # A process keeps the environment that it was started with, so the next may start now.
                while not future.done() and not _has_core(set(multiprocessing.active_children()) - before):
                    time.sleep(0.02)
                futures.append(future)
    started = [future.result() for future in futures if future.exception() is None]
    if len(started) < len(futures):
        for engine in started:
            engine.close()
        raise next(error for future in futures if (error := future.exception()) is not None)
    return started


def _has_core(processes: set[Any]) -> bool:
    return any(process.name.startswith("EngineCore") for process in processes)


@contextmanager
def _visible(devices: Sequence[str]) -> Iterator[None]:
    variable = "CUDA_VISIBLE_DEVICES"
    before = os.environ.get(variable)
    if devices:
        os.environ[variable] = ",".join(devices)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = before


def plan_packs(inputs: Sequence[Prepared], max_tokens: int) -> Iterator[list[int]]:
    """Indices of `inputs` in packs of one task and one kind of result, in the order of `by_beginning`.

    A pack has at most `max_tokens` tokens, or one input.
    """
    for _, indices in by_kind(inputs, by_beginning):
        pack: list[int] = []
        num_tokens = 0
        for index in indices:
            if pack and num_tokens + inputs[index].num_tokens > max_tokens:
                yield pack
                pack, num_tokens = [], 0
            pack.append(index)
            num_tokens += inputs[index].num_tokens
        yield pack
