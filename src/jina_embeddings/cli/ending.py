"""Ends `serve` on a signal that comes while there are no requests to answer: before it serves, and while it closes.

Loading a model may take minutes. Python calls signal handlers between two of its own instructions, and a library that
loads weights or waits for a device lets none come for long, so a thread waits for signals besides.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Time from SIGTERM to SIGKILL for processes that this one has started.
_GRACE_S = 1.0
# It ends with the process that started it, and removes shared memory that others have left.
_RESOURCE_TRACKER = "multiprocessing.resource_tracker"


class _Ending:
    """What this process knows of its end. wake: the thread's socket, once there is the thread."""

    wanted = False
    status = 0
    wake: socket.socket | None = None


def on_signals() -> None:
    """From now on SIGINT and SIGTERM end this process with status 0, and SIGHUP does nothing.

    Whoever handles them in another way for a while has to put these handlers back.
    """
    _Ending.wanted = True
    for number in _SIGNALS:
        # A shell starts background jobs with SIGINT ignored, which must stay so.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    if hasattr(signal, "SIGHUP"):
        # The keys are read later. A function, unlike SIG_IGN, is not inherited by the programs that this one starts.
        signal.signal(signal.SIGHUP, _skip)


def with_processes() -> None:
    """From now on those signals also end all processes that this one has started, whatever its main thread does.

    Does nothing without `on_signals`.
    """
    if not _Ending.wanted:
        return
    # Imported here, since a signal may stop the main thread in the middle of an import.
    import psutil  # noqa: F401

    reader, writer = socket.socketpair()
    writer.setblocking(False)
    # A copy of stderr, since what an engine prints while it is loaded is redirected.
    threading.Thread(target=_watch, args=(reader, os.dup(2)), name="jina-embeddings-ending", daemon=True).start()
    # From C, a signal's number gets there before Python has called its handler.
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=_forget)
    _Ending.wake = writer


def set_status(status: int) -> None:
    """Sets the status that signals end this process with."""
    _Ending.status = status


def _end(number: int, frame: FrameType | None) -> None:
    if _Ending.wake is None:
        _say(2, number)
        os._exit(_Ending.status)
    # Again, as others may have set another wakeup descriptor.
    with suppress(OSError):
        _Ending.wake.send(bytes([number]))
    # The thread ends the process. Until then this one must not report that the engine's processes have ended.
    while True:
        time.sleep(1)


def _skip(number: int, frame: FrameType | None) -> None:
    pass


def _forget() -> None:
    """In a forked process, which is not ours to end, signals do what they do by default."""
    signal.set_wakeup_fd(-1)
    for number in (*_SIGNALS, signal.SIGHUP):
        if signal.getsignal(number) in (_end, _skip):
            signal.signal(number, signal.SIG_DFL)


def _watch(reader: socket.socket, stderr: int) -> None:
    """Ends this process and those that it has started, when a signal arrives that `_end` handles at that time."""
    import psutil

    while signal.getsignal(number := reader.recv(1)[0]) is not _end:
        pass
    _say(stderr, number)
    started = _started()
    for process in started:
        with suppress(psutil.Error):
            process.terminate()
    psutil.wait_procs(started, timeout=_GRACE_S)
    # The engine may have started another one in the meantime.
    for process in {*started, *_started()}:
        with suppress(psutil.Error):
            process.kill()
    os._exit(_Ending.status)


def _started() -> list[psutil.Process]:
    import psutil

    def is_ours(process: psutil.Process) -> bool:
        try:
            return _RESOURCE_TRACKER not in " ".join(process.cmdline())
        except psutil.Error:
            return False

    return [process for process in psutil.Process().children(recursive=True) if is_ours(process)]


def _say(stderr: int, number: int) -> None:
    with suppress(OSError):
        os.write(stderr, f"ended by {signal.Signals(number).name}\n".encode())
