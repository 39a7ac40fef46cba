"""Processes that decode one file at a time, and are replaced when a file crashes them or takes too long."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any, TypeVar

from ..errors import ImageError
from . import decoding

T = TypeVar("T")


class Decoders:
    """A pool of at most `num_processes`, each started when it is first needed. Used from one event loop."""

    def __init__(self, num_processes: int):
        # None stands for a process that has not been started.
        self._free: asyncio.LifoQueue[_Process | None] = asyncio.LifoQueue()
        self._all: set[_Process] = set()
        for _ in range(num_processes):
            self._free.put_nowait(None)

    @property
    def num_running(self) -> int:
        return len(self._all)

    async def run(self, function: Callable[..., T], *arguments: Any, timeout_s: float) -> T:
        """Calls the function in one of the processes. A caller that is cancelled while it waits for one uses none.

        Raises ImageError if the file crashed the process or took longer than `timeout_s`.
        """
        for attempt in (1, 2):
            process = await self._free.get() or self._started()
            try:
                return await process.run(function, arguments, timeout_s, self._done)
            except BrokenProcessPool:
                if process.timed_out:
                    raise ImageError(f"a file that takes over {timeout_s:g} s to decode") from None
                # The process may have ended for another reason before it got the file, so a second one tries.
                if attempt == 2:
                    raise ImageError("a file that ended the process which decoded it") from None
        raise AssertionError

    def close(self) -> None:
        for process in list(self._all):
            process.kill()
            process.executor.shutdown(wait=True, cancel_futures=True)
        self._all.clear()

    def _started(self) -> _Process:
        process = _Process()
        self._all.add(process)
        return process

    def _done(self, process: _Process, broken: bool) -> None:
        if broken:
            process.executor.shutdown(wait=False)
            self._all.discard(process)
        self._free.put_nowait(None if broken else process)


class _Process:
    """One process. timed_out: whether it was killed because a file took too long."""

    def __init__(self) -> None:
        # A fork of a process with an engine would have its locks in the state in which other threads hold them.
        context: Any = multiprocessing.get_context("spawn")
        self.executor = ProcessPoolExecutor(1, context, initializer=decoding.start)
        self.timed_out = False
        self._pid = self.executor.submit(os.getpid)

    async def run(
        self, function: Callable[..., T], arguments: Any, timeout_s: float, done: Callable[[_Process, bool], None]
    ) -> T:
        """done: called when the process is free or broken; if the caller is cancelled, that is later."""
        loop = asyncio.get_running_loop()
        try:
            future = self.executor.submit(function, *arguments)
        except BrokenProcessPool:
            done(self, True)
            raise
        timer = loop.call_later(timeout_s, self._time_out)

        def settle() -> None:
            timer.cancel()
            done(self, not future.cancelled() and isinstance(future.exception(), BrokenProcessPool))

        def from_its_thread(_: Future[T]) -> None:
            # The loop may be closed by now, if the caller was cancelled.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(settle)

        future.add_done_callback(from_its_thread)
        return await asyncio.wrap_future(future)

    def kill(self) -> None:
        # A process that has not started yet has no id, and nothing in it can hang.
        if self._pid.done() and not self._pid.cancelled() and self._pid.exception() is None:
            with suppress(ProcessLookupError):
                os.kill(self._pid.result(), signal.SIGKILL)

    def _time_out(self) -> None:
        self.timed_out = True
        self.kill()
