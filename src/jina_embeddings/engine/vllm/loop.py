"""An event loop on a thread of its own, so that threads and asyncio tasks of the caller share what runs on it."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, TypeVar

from ...errors import EngineClosedError

T = TypeVar("T")

_CLOSED = "the engine is closed: make a new JinaEmbeddings"


class Mailbox:
    """Hands an event loop what other threads want done there; however much it is, the loop is woken once."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._posted: deque[Callable[[], None]] = deque()
        self._is_woken = False

    def post(self, act: Callable[[], None]) -> None:
        """Raises RuntimeError where the loop is closed."""
        self._posted.append(act)
        if not self._is_woken:
            self._is_woken = True
            self._loop.call_soon_threadsafe(self._act)

    def _act(self) -> None:
        # Before it looks: what is posted while it does wakes it again.
        self._is_woken = False
        while self._posted:
            self._posted.popleft()()


class LoopThread:
    """Runs coroutines that any thread hands in, until it is stopped."""

    def __init__(self, name: str):
        self.stopping = False
        self._running: set[Future[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._mailbox = Mailbox(self._loop)
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Blocks until the work is done.

        Raises:
            EngineClosedError: the thread was stopped before or meanwhile.
        """
        try:
            return self._submit(work).result()
        except CancelledError as error:
            raise EngineClosedError("the engine was closed during the call") from error

    async def arun(self, work: Coroutine[Any, Any, T]) -> T:
        """The same without blocking the caller's event loop."""
        try:
            return await asyncio.wrap_future(self._submit(work))
        except asyncio.CancelledError:
            # Either the caller was cancelled, or the work was because the thread is to stop: only that is an error.
            if self.stopping:
                raise EngineClosedError("the engine was closed during the call") from None
            raise

    def post(self, act: Callable[[], None]) -> None:
        """Has something done in the thread, which must not wait.

        Raises:
            EngineClosedError: the thread was stopped before.
        """
        if self.stopping:
            raise EngineClosedError(_CLOSED)
        try:
            self._mailbox.post(act)
        except RuntimeError as error:
            raise EngineClosedError(_CLOSED) from error

    def run_last(self, act: Callable[[], None]) -> None:
        """The same after `cancel`, before `stop`."""
        self._mailbox.post(act)

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if self.stopping:
            work.close()
            raise EngineClosedError(_CLOSED)
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    def cancel(self) -> None:
        """Takes no more work, and cancels what is under way."""
        self.stopping = True
        for work in list(self._running):
            work.cancel()

    def stop(self) -> None:
        """Ends the thread, with every task that was left on its loop: one that ends under them complains at exit."""
        self.cancel()
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=30)
        if not self._loop.is_running():
            self._loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
