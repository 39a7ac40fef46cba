"""`Replicas`: several engines, one on each device, as one; each piece of work goes to the least busy engine."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import EngineDeadError
from ...fill import Fill
from ...plugin.packs import by_prefix
from ...types import Prepared
from ..base import Engine
from ..batching import Kind, by_kind, kind_of
from ..loop_thread import LoopThread

if TYPE_CHECKING:
    from ...types import Vectors

T = TypeVar("T")


logger = logging.getLogger(__name__)

# Tokens of one piece of work, as a share of a pack. Small, so that all engines finish at about the same time; an engine
# fills its packs from several pieces.
_PIECE_PACKS = 0.5
# An engine with this many packs of one kind in progress gets no more of that kind. One pack runs and one is launched;
# the others are there to choose neighbours with shared prefixes from.
_MAX_PACKS_IN_PROGRESS = 9


@dataclass(eq=False)
class _Replica:
    """One engine; in_progress: the tokens that it has been given and not returned, by kind."""

    number: int
    engine: Engine
    in_progress: Counter[Kind] = field(default_factory=Counter)
    alive: bool = True


class Replicas:
    """Engines with the same weights. If one dies, the log says so, and the others do its work.

    pack_tokens: the most tokens of a pack on these engines.
    """

    name = "vllm"
    chunk_size = 256

    def __init__(self, engines: Sequence[Engine], pack_tokens: int):
        self.engines = list(engines)
        self.max_length = engines[0].max_length
        self.hang_s = engines[0].hang_s
        # Two calls keep each engine busy while one is prepared or finished.
        self.calls_at_once = 1 + 2 * len(engines)
        self._pack_tokens = pack_tokens
        self._replicas = [_Replica(number, engine) for number, engine in enumerate(engines)]
        self._loop = LoopThread("jina-embeddings-replicas")
        self._freed = asyncio.Condition()

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Vectors]:
        return self._loop.run(self._run(batch, call_size))

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Vectors]:
        work = self._run(batch, call_size)
        # A call from the own event loop, where servers run, needs no hop to it.
        return await (work if asyncio.get_running_loop() is self._loop.loop else self._loop.arun(work))

    @property
    def pack_fill(self) -> Fill:
        return Fill.joined(engine.pack_fill for engine in self.engines)

    @property
    def alive(self) -> bool:
        return not self._loop.stopping and any(engine.alive for engine in self.engines)

    def run_async(self, main: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(main)

    def close(self) -> None:
        if self._loop.stopping:
            return
        self._loop.cancel()
        for engine in self.engines:
            engine.close()
        self._loop.stop()

    async def _run(self, batch: Sequence[Prepared], call_size: int | None) -> list[Vectors]:
        results: list[Any] = [None] * len(batch)
        pieces = plan_packs(batch, int(_PIECE_PACKS * self._pack_tokens))
        work = [self._run_piece(results, batch, piece, call_size or len(batch)) for piece in pieces]
        # One piece, as of a small call, needs no task of its own.
        ends = [await _end(work[0])] if len(work) == 1 else await asyncio.gather(*work, return_exceptions=True)
        # An error about the inputs says more than the death of an engine, so it is raised first.
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
            replica.in_progress[kind] += num_tokens
            try:
                outputs = await replica.engine.arun(inputs, call_size=call_size)
            except EngineDeadError as error:
                self._bury(replica, error)
            finally:
                replica.in_progress[kind] -= num_tokens
                async with self._freed:
                    self._freed.notify_all()
        for index, output in zip(piece, outputs, strict=True):
            results[index] = output

    async def _least_busy(self, kind: Kind) -> _Replica:
        """The engine that gets the next piece of that kind; waits while all of them have the most allowed."""
        limit = _MAX_PACKS_IN_PROGRESS * self._pack_tokens

        def ready() -> list[_Replica]:
            return [one for one in self._replicas if one.alive and one.in_progress[kind] < limit]

        async with self._freed:
            await self._freed.wait_for(lambda: ready() or not any(one.alive for one in self._replicas))
        if not (engines := ready()):
            raise EngineDeadError(
                "the processes of all engines have ended; their logs say why. Make a new JinaEmbeddings"
            )
        return min(engines, key=lambda one: one.in_progress.total())

    def _bury(self, replica: _Replica, error: EngineDeadError) -> None:
        if replica.alive:
            replica.alive = False
            left = sum(one.alive for one in self._replicas)
            logger.error("engine %d of %d: %s; %d go on", replica.number + 1, len(self._replicas), error.reason, left)


async def _end(work: Coroutine[Any, Any, None]) -> Exception | None:
    """Awaits the work; returns its error."""
    try:
        await work
    except Exception as error:
        return error
    return None


def start_on_devices(make: Callable[[], Engine], devices: Sequence[Sequence[str]]) -> list[Engine]:
    """Calls `make` in parallel for each list of devices; the processes that it starts see those devices only.

    An empty list leaves CUDA_VISIBLE_DEVICES as it is. If one engine fails to start, the others are closed.
    """
    with ThreadPoolExecutor(len(devices), "jina-embeddings-start") as pool:
        futures = []
        for names in devices:
            with _visible(names):
                before = set(multiprocessing.active_children())
                future = pool.submit(make)
                # A process keeps the environment that it was started with, so once it exists, the next one can start.
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
    """Plans packs, each of one kind, as lists of indices into `inputs` in the order of `by_prefix`.

    A pack has at most `max_tokens` tokens of whole prompts, unless it is a single input.
    """
    for _, indices in by_kind(inputs, by_prefix):
        pack: list[int] = []
        num_tokens = 0
        for index in indices:
            if pack and num_tokens + inputs[index].num_tokens > max_tokens:
                yield pack
                pack, num_tokens = [], 0
            pack.append(index)
            num_tokens += inputs[index].num_tokens
        yield pack
