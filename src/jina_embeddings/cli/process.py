"""Redirects what an engine and its processes print to a log file, and closes the model on signals."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import IO, Self

from .. import logs
from ..errors import EngineError
from ..pipeline.temporary import temporary_files
from .terminal import say

# Ctrl-C, what schedulers send, and the end of the terminal, which Windows has no signal for.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class EngineOutput:
    """The log file of an engine. It has a name only if the engine failed, which is then printed.

    shown: nothing is redirected.
    """

    def __init__(self, *, shown: bool):
        # Without a name, nothing is left of it however this process ends.
        with temporary_files():
            self._file = None if shown or os.environ.get(logs.VARIABLE) else tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:
            return
        with self._file:
            if isinstance(error, EngineError) and os.fstat(self._file.fileno()).st_size:
                self._file.seek(0)
                with tempfile.NamedTemporaryFile(prefix="jina-embeddings-", suffix=".log", delete=False) as named:
                    shutil.copyfileobj(self._file, named)
                say(f"what the engine printed is in {named.name}")

    @contextmanager
    def redirected(self) -> Iterator[None]:
        """Redirects stdout and stderr of this process to the file within the block, where the engine starts.

        Processes that start in the block keep the file as their output. File descriptors are redirected, since compiled
        code and other processes don't use `sys.stderr`. The package's own warnings are still shown.
        """
        if self._file is None:
            yield
            return
        sys.stdout.flush()
        sys.stderr.flush()
        kept = {number: os.dup(number) for number in (1, 2)}
        with open(os.dup(2), "w") as stderr, _warnings_on(stderr):
            for number in kept:
                os.dup2(self._file.fileno(), number)
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
    handler.setFormatter(logs.OneLine("warning: %(message)s"))
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
    """Within the block, `_SIGNALS` call `stop` and raise KeyboardInterrupt. Only works in the main thread.

    An interrupted run waits for the chunk in progress, which may take minutes. If `stop` closes the model, that chunk
    fails after the current forward.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        # In another thread, since this one may hold the engine's lock.
        threading.Thread(target=stop, name="jina-embeddings-stop").start()
        raise KeyboardInterrupt

    # A shell starts background jobs with SIGINT ignored, and nohup a command with SIGHUP; both must stay so, as must
    # handlers of the command.
    defaults = (signal.SIG_DFL, signal.default_int_handler)
    heeded = [number for number in _SIGNALS if signal.getsignal(number) in defaults]
    before = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
