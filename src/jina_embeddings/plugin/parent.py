"""vLLM's processes end with the one that started them, however that one ends.

A program that is killed, or ended by SIGTERM without a handler, runs none of its own cleaning up, and vLLM's engine
process waits for its next request for ever, on a device that nobody else can use. So a thread in each process of vLLM
asks the system who its parent is. `PR_SET_PDEATHSIG` would ask nothing, but it is sent when the parent's thread ends
that started the process, and engines are started by threads of a pool.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# Between two looks at who the parent is.
_WATCH_S = 0.5
# For what vLLM cleans up on SIGTERM, its shared memory among it; then the process is killed.
_GRACE_S = 10.0
_NAMES_OF_PROCESSES = ("EngineCore", "VllmWorker")

# Engines being started by this process, or by the one that it was forked from; and the process that is forking.
_starting = 0
_forking_pid = 0
_changing = threading.Lock()


def watch_parent() -> None:
    """In a process that vLLM started afresh: ends it when its parent has ended. Does nothing in any other process."""
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None and _is_of_vllm():
        _start_watching(parent.pid)


@contextmanager
def forks_are_watched() -> Iterator[None]:
    """While an engine starts: what is forked meanwhile, and what that forks, is watched as well.

    vLLM forks where it may, and calls no plugin in a process that already has it.
    """
    global _starting
    with _changing:
        _starting += 1
    try:
        yield
    finally:
        with _changing:
            _starting -= 1


def _start_watching(parent_pid: int) -> None:
    threading.Thread(target=_watch, args=(parent_pid,), name="jina-embeddings-parent", daemon=True).start()


def _watch(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(_WATCH_S)
    # Asked now: a forked process gets its name only after the thread has started.
    if not _is_of_vllm():
        return
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


def _is_of_vllm() -> bool:
    return multiprocessing.current_process().name.startswith(_NAMES_OF_PROCESSES)


def _before_fork() -> None:
    global _forking_pid
    _forking_pid = os.getpid()


def _after_fork() -> None:
    global _changing
    _changing = threading.Lock()
    if _starting:
        _start_watching(_forking_pid)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
