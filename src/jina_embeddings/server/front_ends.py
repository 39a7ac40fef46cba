"""Several processes that share a port, in front of the one process that has the engine.

One Python process answers three to four thousand requests of one text a second, fewer than a fast GPU can embed. Each
front end reads requests, tokenises, and writes answers; the process with the engine makes packs of all their texts.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .assembly import Settings, serve_model
from .listening import require_free_port
from .metrics import SHARED_FOLDER
from .signals import Acts, handled_signals

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings

logger = logging.getLogger(__name__)

_LOOK_S = 0.1
_HANDLED = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
# Time for front ends to end after the last of their own deadlines.
_SPARE_S = 10.0


@dataclass(frozen=True, slots=True)
class ModelArguments:
    """What `JinaEmbeddings` was called with, without its engine."""

    model: str
    options: dict[str, Any]


def serve_from_front_ends(model: JinaEmbeddings, settings: Settings, arguments: ModelArguments) -> bool:
    """Serves until a signal arrives, or the engine or a front end dies; returns whether all were alive to the end."""
    require_free_port(settings.host, settings.port)
    front_ends = _FrontEnds()
    acts: dict[str, Callable[[], None]] = {
        "SIGINT": front_ends.end,
        "SIGTERM": front_ends.end,
        "SIGHUP": partial(front_ends.signal, signal.SIGHUP),
    }
    with _shared_metrics(), handled_signals(acts) as called:
        model.run_async(_supervised(model, settings, arguments, front_ends, called))
    return front_ends.ended_well


class _FrontEnds:
    """The processes. asked: they were asked to end."""

    def __init__(self) -> None:
        self._processes: list[SpawnProcess] = []
        self.asked = False

    def start(self, count: int, *arguments: Any) -> None:
        """Starts processes that run `_front_end`. They begin with signals blocked, until they can handle them."""
        # It unblocks signals when it starts, which the first process would have it do.
        resource_tracker.ensure_running()
        context = multiprocessing.get_context("spawn")
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            for _ in range(count):
                process = context.Process(target=_front_end, args=arguments)
                process.start()
                self._processes.append(process)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def signal(self, number: int) -> None:
        for process in self._processes:
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, number)

    def end(self) -> None:
        self.asked = True
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        for process in self._processes:
            process.kill()

    async def until(self, ended: Callable[[Iterable[bool]], bool]) -> None:
        """Waits for `all` or `any` of the processes to end."""
        while not ended(not process.is_alive() for process in self._processes):
            await asyncio.sleep(_LOOK_S)

    @property
    def ended_well(self) -> bool:
        return self.asked and all(process.exitcode == 0 for process in self._processes)

    @property
    def statuses(self) -> str:
        return ", ".join(str(process.exitcode) for process in self._processes if process.exitcode is not None)


async def _supervised(
    model: JinaEmbeddings, settings: Settings, arguments: ModelArguments, front_ends: _FrontEnds, called: Acts
) -> None:
    async with model.hosted() as path:
        try:
            called.begin(asyncio.get_running_loop())
            front_ends.start(settings.front_ends, path, settings.share, arguments)
            await front_ends.until(any)
            if not front_ends.asked:
                logger.error("a front end has ended with status %s; so does the server", front_ends.statuses)
                front_ends.signal(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(settings.drain_s + settings.deadline_s + _SPARE_S):
                    await front_ends.until(all)
        finally:
            front_ends.kill()


def _front_end(path: Path, settings: Settings, arguments: ModelArguments) -> None:
    """The main function of one process."""
    # Signals of the terminal are for the process with the engine, which passes them on.
    os.setsid()
    # Until this one serves, it has nothing to finish, and it reads the keys later.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
    from ..embedder import JinaEmbeddings

    with JinaEmbeddings(arguments.model, engine=path, **arguments.options) as model:
        well = serve_model(model, settings)
    sys.exit(0 if well else 2)


@contextmanager
def _shared_metrics() -> Iterator[None]:
    """Within this context, processes that start count into files of one folder."""
    with tempfile.TemporaryDirectory(prefix="jina-embeddings-") as folder:
        os.environ[SHARED_FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[SHARED_FOLDER]
