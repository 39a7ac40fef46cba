"""Ctrl-C and SIGTERM while a model works."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stops_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Within it, both signals call `stop` and raise KeyboardInterrupt; only the main thread can do that.

    A chunk that is under way is waited for, which may take minutes; with the model closed it fails after
    the forward that runs now.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        # In a thread: the signal may have come while this one holds the engine's lock.
        threading.Thread(target=stop, name="jina-embeddings-stop").start()
        raise KeyboardInterrupt

    # A shell starts what runs in the background with SIGINT ignored, and means it.
    heeded = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
