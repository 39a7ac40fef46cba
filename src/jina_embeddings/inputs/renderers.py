"""Processes that render pages of PDFs, since PDFium renders one at a time in a process."""

from __future__ import annotations

import atexit
import logging
import mmap
import multiprocessing
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .pdfium import Drawn, PdfError

logger = logging.getLogger(__name__)

_PAGES_BEFORE = 64
"""Pages that this process renders alone before it starts others: what a few pages need is less than a start takes."""
_CORES_OF_A_RENDERER, _MOST_RENDERERS = 4, 8
_START_S = 60.0
_PAGE_S = 120.0
"""The most time that each step of a page takes."""
_WAIT_S = 1800.0
"""The most time that a thread waits for a process: longer than all before it could take. It then renders here."""
_MOST_SENT_BYTES = 4 * 2**20
"""Larger files in memory are not sent."""

_ERRORS: dict[str, type[Exception]] = {
    error.__name__: error for error in (FileNotFoundError, ImportError, MemoryError, ModuleNotFoundError)
}


class RendererEndedError(Exception):
    """The process has ended; timed_out: because a page took too long."""

    def __init__(self, timed_out: bool):
        super().__init__("the process that rendered a page has ended")
        self.timed_out = timed_out


class Renderer:
    """One process; used by one thread at a time, in the way of `OpenPdf`.

    Raises OSError if it can't be started; all methods raise RendererEndedError.
    """

    def __init__(self, page_s: float = _PAGE_S) -> None:
        if not hasattr(os, "memfd_create"):
            raise OSError("only Linux has memory that is shared by its descriptor")
        self._page_s = page_s
        self._ended: RendererEndedError | None = None
        self._memory = os.memfd_create("jina-embeddings-pages")
        self._place: mmap.mmap | None = None
        self._pipe, theirs = multiprocessing.Pipe()
        _bound(self._pipe.fileno(), page_s)
        descriptors = theirs.fileno(), self._memory
        module = f"{__package__}.rendering"
        # Not multiprocessing: it would run the program's main module again. -P: no module of the working directory.
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *map(str, descriptors), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=descriptors,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        except OSError:
            self._pipe.close()
            os.close(self._memory)
            raise
        finally:
            theirs.close()
        try:
            self._answer(_START_S)
        except RendererEndedError:
            self.end()
            raise OSError("it ended before it was ready") from None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._ended is not None

    def open(self, source: str | bytes) -> int:
        """The number of pages."""
        # The working directory of this process may be another than when that one was started.
        num_pages: int = self._call("open", source if isinstance(source, bytes) else os.path.abspath(source))
        return num_pages

    def size(self, number: int) -> tuple[float, float]:
        size: tuple[float, float] = self._call("size", number)
        return size

    def draw(self, number: int, scale: float) -> Drawn:
        """The buffer holds the page until the next one is drawn."""
        width, height, stride = self._call("draw_there", number, scale)
        if self._place is None or len(self._place) < stride * height:
            self._place = mmap.mmap(self._memory, os.fstat(self._memory).st_size)
        return Drawn(width, height, stride, self._place)

    def close(self) -> None:
        """Closes the document; the process goes on, if it hasn't ended."""
        if self._ended is not None:
            return
        self._call("close")
        if self._place is not None and os.fstat(self._memory).st_size < len(self._place):
            self._place = None

    def end(self) -> None:
        self._pipe.close()
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._place = None
        with suppress(OSError):
            os.close(self._memory)

    def _call(self, operation: str, *arguments: Any) -> Any:
        if self._ended is not None:
            raise self._ended
        try:
            self._pipe.send((operation, *arguments))
            error, result = self._answer(self._page_s)
        except BlockingIOError:
            raise self._has_ended(timed_out=True) from None
        except OSError:
            raise self._has_ended(timed_out=False) from None
        except RendererEndedError:
            raise
        except BaseException:
            # An answer that nobody has read would be taken for that to the next question.
            self._has_ended(timed_out=False)
            raise
        if error is None:
            return result
        raise _ERRORS.get(error, PdfError)(result)

    def _answer(self, timeout_s: float) -> Any:
        try:
            if self._pipe.poll(timeout_s):
                return self._pipe.recv()
        except (EOFError, OSError):
            raise self._has_ended(timed_out=False) from None
        raise self._has_ended(timed_out=True)

    def _has_ended(self, timed_out: bool) -> RendererEndedError:
        self._process.kill()
        self._ended = RendererEndedError(timed_out)
        return self._ended


def _bound(descriptor: int, most_s: float) -> None:
    """Makes reading and writing a socket fail with BlockingIOError when nothing moves for so long."""
    timeval = struct.pack("@ll", int(most_s), int(most_s % 1 * 1e6))
    with socket.socket(fileno=os.dup(descriptor)) as pipe:
        pipe.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
        pipe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)


class Renderers:
    """As many processes as threads want at a time, up to `most`, once there have been many pages. Thread-safe."""

    def __init__(
        self, most: int, pages_before: int = _PAGES_BEFORE, page_s: float = _PAGE_S, wait_s: float | None = None
    ):
        self._most, self._left, self._page_s = most, pages_before, page_s
        self._wait_s = _WAIT_S if wait_s is None else wait_s
        self._changed = threading.Condition()
        self._idle: list[Renderer] = []
        self._num_running = 0

    @contextmanager
    def place(self, source: str | bytes) -> Iterator[Renderer | None]:
        """Where to render a page of this source: in a process, which no other thread gets meanwhile, or here: None."""
        renderer = None
        if not isinstance(source, bytes) or len(source) <= _MOST_SENT_BYTES:
            renderer = self._take()
        if renderer is None:
            yield None
            return
        try:
            yield renderer
        finally:
            self._give_back(renderer)

    def end(self) -> None:
        """Ends the processes that no thread uses."""
        with self._changed:
            idle, self._idle = self._idle, []
            self._num_running -= len(idle)
        for renderer in idle:
            renderer.end()

    def forget(self) -> None:
        """In a forked process, which has no right to those of its parent."""
        self.__init__(self._most, _PAGES_BEFORE, self._page_s, self._wait_s)  # type: ignore[misc]

    def _take(self) -> Renderer | None:
        with self._changed:
            self._left -= 1
            if self._left >= 0 or not self._most:
                return None
            freed = self._changed.wait_for(
                lambda: self._idle or self._num_running < self._most or not self._most, self._wait_s
            )
            if not freed or not self._most:
                return None
            if self._idle:
                return self._idle.pop()
            self._num_running += 1
        try:
            return Renderer(self._page_s)
        except BaseException as error:
            failed = isinstance(error, OSError | ValueError)
            with self._changed:
                self._num_running -= 1
                self._most = 0 if failed else self._most
                self._changed.notify_all()
            if not failed:
                raise
            logger.warning("pages of PDFs are rendered one at a time: another process can't be started: %s", error)
            return None

    def _give_back(self, renderer: Renderer) -> None:
        if renderer.has_ended:
            renderer.end()
        with self._changed:
            if renderer.has_ended:
                self._num_running -= 1
            else:
                self._idle.append(renderer)
            self._changed.notify()


def _num_renderers() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_RENDERERS, cores // _CORES_OF_A_RENDERER)


RENDERERS = Renderers(_num_renderers())
atexit.register(RENDERERS.end)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=RENDERERS.forget)
