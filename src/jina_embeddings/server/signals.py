"""Signals that call functions in the event loop, which may run in another thread than the main one."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


@contextlib.contextmanager
def handled_signals(acts: dict[str, Callable[[], None]]) -> Iterator[list[asyncio.AbstractEventLoop]]:
    """Within this context signals, by name, call functions in the event loop that the caller puts into the list.

    Python calls signal handlers in the main thread, and the event loop may run in another.
    """
    loops: list[asyncio.AbstractEventLoop] = []

    def handler(act: Callable[[], None]) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            if not loops:
                raise KeyboardInterrupt
            # The loop may be closed, and then the server has ended.
            with contextlib.suppress(RuntimeError):
                loops[0].call_soon_threadsafe(act)

        return handle

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name, act in acts.items():
            if hasattr(signal, name):
                number = signal.Signals[name]
                before[number] = signal.signal(number, handler(act))
    try:
        yield loops
    finally:
        for number, known in before.items():
            signal.signal(number, known)
