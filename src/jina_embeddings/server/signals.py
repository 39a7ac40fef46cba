"""Signals that call functions in the event loop, which may run in another thread than the main one."""

from __future__ import annotations

import contextlib
import signal
import threading
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


class Acts:
    """Functions that signals have asked for. They wait until there is an event loop to call them."""

    def __init__(self) -> None:
        self._loop: AbstractEventLoop | None = None
        self._waiting: deque[Callable[[], None]] = deque()

    def begin(self, loop: AbstractEventLoop) -> None:
        """Calls those that wait, and all that come, in this loop."""
        self._loop = loop
        loop.call_soon(self._call)

    def add(self, act: Callable[[], None]) -> None:
        """Has the loop call a function. Raises KeyboardInterrupt if another one waits for a loop already."""
        self._waiting.append(act)
        if self._loop is not None:
            # The loop may be closed, and then the server has ended.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._call)
        elif len(self._waiting) > 1:
            raise KeyboardInterrupt

    def _call(self) -> None:
        while self._waiting:
            self._waiting.popleft()()


@contextlib.contextmanager
def handled_signals(acts: dict[str, Callable[[], None]]) -> Iterator[Acts]:
    """Within this context signals, by name, call functions in the event loop that `Acts.begin` gets.

    Python calls signal handlers in the main thread, and the event loop may run in another.
    """
    called = Acts()

    def handler(act: Callable[[], None]) -> Callable[[int, FrameType | None], None]:
        return lambda number, frame: called.add(act)

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name, act in acts.items():
            if hasattr(signal, name):
                number = signal.Signals[name]
                before[number] = signal.signal(number, handler(act))
    try:
        yield called
    finally:
        for number, known in before.items():
            signal.signal(number, known)
