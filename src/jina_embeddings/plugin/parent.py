"""Ends vLLM's processes when the process that started them has ended, however it ended.

A program that is killed, or ended by SIGTERM without a handler, doesn't clean up, and vLLM's engine process would wait
for requests for ever and keep its memory on the device. So a thread in each process of vLLM polls its parent's process
id. `PR_SET_PDEATHSIG` wouldn't need polling, but its signal is sent when the thread that started the process ends, and
engines are started by threads of a pool.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .compat import HOOKS

# Time between two checks of the parent's process id.
_POLL_S = 0.5
# Time from SIGTERM, on which vLLM frees its shared memory among other things, to SIGKILL.
_GRACE_S = 10.0

# Number of engines that are being started by this process, or by the process that it was forked from.
_num_starting = 0
# The process that calls fork, set just before it does.
_forking_pid = 0
# Guards _num_starting.
_lock = threading.Lock()


def watch_parent() -> None:
    """Ends this process when its parent has ended, if it is one of vLLM's that was spawned; otherwise does nothing."""
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None and _is_of_vllm():
        _start_watching(parent.pid)


@contextmanager
def forks_are_watched() -> Iterator[None]:
    """Within this context, which an engine is started in, processes that are forked watch their parent too.

    vLLM forks its processes where it can, and calls `register` again only in those that it spawns.
    """
    global _num_starting
    with _lock:
        _num_starting += 1
    try:
        yield
    finally:
        with _lock:
            _num_starting -= 1


def _start_watching(parent_pid: int) -> None:
    threading.Thread(target=_watch, args=(parent_pid,), name="jina-embeddings-parent", daemon=True).start()


def _watch(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(_POLL_S)
    # Checked here, since a forked process gets its name after the thread has started.
    if not _is_of_vllm():
        return
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


def _is_of_vllm() -> bool:
    return multiprocessing.current_process().name.startswith(HOOKS["names of processes"].attributes)


def _before_fork() -> None:
    global _forking_pid
    _forking_pid = os.getpid()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    if _num_starting:
        _start_watching(_forking_pid)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
