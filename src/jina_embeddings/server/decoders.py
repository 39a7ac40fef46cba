"""Processes that decode: each with one file at a time, replaced when a file has ended it or takes too long."""

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
from . import decoder

T = TypeVar("T")


class Decoders:
    """num_processes: at most; each starts when it is first needed. Used from one event loop."""

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
        """The function's result in one of the processes. Whoever waits for a process and is cancelled costs nothing.

        Raises ImageError for what ended the process or took longer.
        """
        for attempt in (1, 2):
            process = await self._free.get() or self._started()
            try:
                return await process.run(function, arguments, timeout_s, self._done)
            except BrokenProcessPool:
                if process.timed_out:
                    raise ImageError(f"a file that takes over {timeout_s:g} s to decode") from None
                # It may have ended for another reason, before it had the file.
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
    """timed_out: it was ended for taking too long."""

    def __init__(self) -> None:
        # Forking a process that has an engine would copy its locks in whatever state they are.
        context: Any = multiprocessing.get_context("spawn")
        self.executor = ProcessPoolExecutor(1, context, initializer=decoder.start)
        self.timed_out = False
        self._pid = self.executor.submit(os.getpid)

    async def run(
        self, function: Callable[..., T], arguments: Any, timeout_s: float, done: Callable[[_Process, bool], None]
    ) -> T:
        """done: called when the process is free or broken, which for a caller that is cancelled is later."""
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
            # The loop may have ended before what it no longer waits for.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(settle)

        future.add_done_callback(from_its_thread)
        return await asyncio.wrap_future(future)

    def kill(self) -> None:
        # Where the process has not even begun, there is nothing that could hang.
        if self._pid.done() and not self._pid.cancelled() and self._pid.exception() is None:
            with suppress(ProcessLookupError):
                os.kill(self._pid.result(), signal.SIGKILL)

    def _time_out(self) -> None:
        self.timed_out = True
        self.kill()
