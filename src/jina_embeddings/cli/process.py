"""What an engine, its libraries and its processes print goes to a file, which is named only if the engine failed."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Self

from .. import logs
from ..errors import EngineError
from .terminal import say


class Noise:
    """The file, for as long as the engine lives. With `wanted` there is none, and all is shown."""

    def __init__(self, wanted: bool):
        self._path: Path | None = None
        if not wanted and not os.environ.get(logs.VARIABLE):
            handle, name = tempfile.mkstemp(prefix="jina-embeddings-", suffix=".log")
            os.close(handle)
            self._path = Path(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._path is None:
            return
        if isinstance(error, EngineError) and self._path.stat().st_size:
            say(f"what the engine printed is in {self._path}")
        else:
            self._path.unlink(missing_ok=True)

    @contextmanager
    def kept_away(self) -> Iterator[None]:
        """While it starts: the processes that it starts keep the file as their output, this one does not.

        By file descriptor, since compiled code and other processes know nothing of sys.stderr. The package's
        own warnings are shown.
        """
        if self._path is None:
            yield
            return
        sys.stdout.flush()
        sys.stderr.flush()
        kept = {number: os.dup(number) for number in (1, 2)}
        with self._path.open("ab") as file, open(os.dup(2), "w") as stderr, _warnings_on(stderr):
            for number in kept:
                os.dup2(file.fileno(), number)
            try:
                yield
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                for number, copy in kept.items():
                    os.dup2(copy, number)
                    os.close(copy)


@contextmanager
def _warnings_on(stream: IO[str]) -> Iterator[None]:
    logger = logging.getLogger("jina_embeddings")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    handler.setLevel(logging.WARNING)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


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
