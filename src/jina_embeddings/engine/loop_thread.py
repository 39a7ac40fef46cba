"""An event loop on a thread of its own, which runs coroutines for any thread or asyncio task of the caller."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, TypeVar

from ..errors import EngineClosedError, EngineError
from .event_loop import new_event_loop

T = TypeVar("T")

_CLOSED = "the engine is closed: make a new JinaEmbeddings"


class Mailbox:
    """Passes callbacks from any thread to an event loop, which is woken once for all callbacks that wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self.loop = loop
        self._posted: deque[Callable[[], None]] = deque()
        self._is_woken = False

    def post(self, act: Callable[[], None]) -> None:
        """Has the loop call `act`. Raises RuntimeError if the loop is closed."""
        self._posted.append(act)
        if not self._is_woken:
            self._is_woken = True
            self.loop.call_soon_threadsafe(self._act)

    def _act(self) -> None:
        # Reset first: a callback that is posted during the loop below, and missed by it, wakes the event loop again.
        self._is_woken = False
        while self._posted:
            self._posted.popleft()()


class LoopThread:
    """A thread with an event loop that runs coroutines of any thread until it is stopped."""

    def __init__(self, name: str):
        self.stopping = False
        self._running: set[Future[Any]] = set()
        self.loop = new_event_loop()
        self._mailbox = Mailbox(self.loop)
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine in the loop, and blocks until it is done.

        Raises:
            EngineClosedError: the loop was stopped before or during the work.
            EngineError: the caller is the loop's own thread, which would wait for itself.
        """
        try:
            self.refuse_own_thread()
        except EngineError:
            work.close()
            raise
        future = self._submit(work)
        try:
            return future.result()
        except CancelledError as error:
            raise EngineClosedError("the engine was closed during the call") from error
        except KeyboardInterrupt:
            future.cancel()
            raise

    def refuse_own_thread(self) -> None:
        """Raises EngineError in the loop's thread, where a blocking call would wait for itself."""
        if threading.current_thread() is self._thread:
            raise EngineError("a blocking call would stop the engine's own event loop: call aencode_text and its like")

    async def arun(self, work: Coroutine[Any, Any, T]) -> T:
        """Does the same as `run` without blocking the caller's event loop."""
        try:
            return await asyncio.wrap_future(self._submit(work))
        except asyncio.CancelledError:
            # Either the caller's task was cancelled, or `cancel` has cancelled the work, which is an error.
            if self.stopping:
                raise EngineClosedError("the engine was closed during the call") from None
            raise

    def post(self, act: Callable[[], None]) -> None:
        """Has the loop's thread call `act`, which must not block.

        Raises:
            EngineClosedError: the loop was stopped before.
        """
        if self.stopping:
            raise EngineClosedError(_CLOSED)
        try:
            self._mailbox.post(act)
        except RuntimeError as error:
            raise EngineClosedError(_CLOSED) from error

    def run_last(self, act: Callable[[], None]) -> None:
        """Does the same as `post`, between `cancel` and `stop`."""
        self._mailbox.post(act)

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if self.stopping:
            work.close()
            raise EngineClosedError(_CLOSED)
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    def cancel(self) -> None:
        """Refuses new work, and cancels the coroutines that are running."""
        self.stopping = True
        for work in list(self._running):
            work.cancel()

    def stop(self) -> None:
        """Cancels every task of the loop, since asyncio warns about pending ones at exit, and ends the thread."""
        self.cancel()
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_cancel_all(), self.loop).result(timeout=10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=30)
        if not self.loop.is_running():
            self.loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
