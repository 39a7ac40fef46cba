"""Loops that numba compiles, where it is installed (vLLM brings it), once there is enough work for them."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Compiling takes two seconds of one core, once, and loading what was kept half a second; Pillow takes as long for about
# this many pages.
USES_BEFORE = 64


class Compiled(Generic[T]):
    """What a function makes in a thread of its own after a number of uses. Thread-safe.

    make: compiles, and raises if the result is not what it should be; then it is never used.
    instead: who does the work until then, and then, for the log.
    """

    def __init__(self, make: Callable[[], T], instead: str, uses_before: int = USES_BEFORE):
        self._make, self._instead, self._left = make, instead, uses_before
        self._lock = threading.Lock()
        self._made: T | None = None
        self._thread: threading.Thread | None = None
        _ALL.add(self)

    def use(self) -> T | None:
        """What was made, or None while it isn't there."""
        if self._made is None:
            with self._lock:
                self._left -= 1
                begins = self._left == 0
            if begins:
                # Not a daemon: a compiler that is cut off by the end of the program may crash it.
                thread = threading.Thread(target=self.compile, name="jina-embeddings-compile")
                thread.start()
                self._thread = thread
        return self._made

    def never(self) -> None:
        """Leaves the work to who does it until then."""
        with self._lock:
            self._left = 0

    def compile(self) -> None:
        try:
            self._made = self._make()
        except Exception as error:
            logger.info("%s: %s: %s", self._instead, type(error).__name__, error)

    def wait(self) -> None:
        """Waits for compiling to end if it has begun."""
        if self._thread is not None:
            self._thread.join()


_ALL: weakref.WeakSet[Compiled[Any]] = weakref.WeakSet()


def compile_nothing() -> None:
    """From now on nothing is compiled in this process, for those with little memory."""
    for compiled in list(_ALL):
        compiled.never()


def _wait_for_all() -> None:
    for compiled in list(_ALL):
        compiled.wait()


if hasattr(os, "register_at_fork"):
    # numba's lock would never be given back in a forked process.
    os.register_at_fork(before=_wait_for_all)


def by_numba(function: Any, *arguments: Any, returns: Any = None) -> Any:
    """The function compiled for arguments of these types of numba, without the GIL and without checks of bounds.

    The result is kept for later processes. Raises ImportError without numba.
    """
    import numba

    options = {"nogil": True, "boundscheck": False}
    signature = (numba.void if returns is None else returns)(*arguments)
    try:
        return numba.njit(signature, cache=True, **options)(function)
    except RuntimeError:
        # There is no folder that numba can keep the result in.
        return numba.njit(signature, **options)(function)
