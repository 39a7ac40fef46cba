"""How many threads a forward on a CPU takes, where other processes use the cores too.

A parallel loop ends with its slowest thread. Where threads outnumber the cores that they get, one of them waits for its
turn while the others spin, thousands of times in a forward: beside one busy process, two threads on two cores embed
half of what one does, beside two a quarter (`benchmarks/results/busy_cores.json`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch

# Seconds of forwards after which the number is looked at.
_WINDOW_S = 0.25
# How many threads may be waiting for a core, on average, before there are too many.
_WAITING = 0.5
# Cores that other processes use, on average, without which threads wait only for those of their own process.
_OTHERS = 0.5
# Idle cores, on average, that are worth another try.
_IDLE = 0.5
# Time until all threads are tried though no core is idle, since the system may give this process what others use now.
# Each try that fails doubles it.
_FIRST_TRY_S, _LAST_TRY_S = 1.0, 8.0

_TASKS = Path("/proc/self/task")


class FreeThreads:
    """Lowers the number of threads while they wait for cores of others, and raises it when cores become idle.

    most: the number to begin with, which is never exceeded.
    """

    def __init__(self, most: int) -> None:
        self._most = self.count = most
        self._try_s = _FIRST_TRY_S
        self._lowered_at = 0.0
        self._begin()

    def _begin(self) -> None:
        """Begins a window."""
        self._forwards_s = 0.0
        self._at, self._waited, self._idle, self._others = time.monotonic(), _waited(), _idle(), _others()

    @contextmanager
    def forward(self) -> Iterator[None]:
        """Within this context, which a forward runs in, torch takes `count` threads."""
        if not self._forwards_s:
            self._begin()
        elif self._forwards_s >= _WINDOW_S:
            self._look()
            torch.set_num_threads(self.count)
            self._begin()
        begun = time.monotonic()
        yield
        self._forwards_s += time.monotonic() - begun

    def _look(self) -> None:
        now = time.monotonic()
        waiting = (_waited() - self._waited) / self._forwards_s
        idle = (_idle() - self._idle) / (now - self._at)
        others = (_others() - self._others) / (now - self._at)
        if waiting > _WAITING and others > _OTHERS and self.count > 1:
            if self.count == self._most:
                self._try_s = min(_LAST_TRY_S, 2 * self._try_s)
            self.count = max(1, self.count - max(1, round(waiting)))
            self._lowered_at = now
        elif self.count == self._most:
            self._try_s = _FIRST_TRY_S
        elif idle > _IDLE:
            self.count = min(self._most, self.count + max(1, int(idle)))
        elif now >= self._lowered_at + self._try_s:
            self.count = self._most


def _waited() -> float:
    """The seconds that threads of this process have been ready to run and had no core; 0 where that isn't known."""
    nanoseconds = 0
    with suppress(OSError):
        for thread in os.listdir(_TASKS):
            with suppress(OSError):
                nanoseconds += int((_TASKS / thread / "schedstat").read_text().split()[1])
    return nanoseconds / 1e9


def _others() -> float:
    """The seconds of cores that other processes have used, of all virtual machines on this one too."""
    times = psutil.cpu_times()
    kinds = ("user", "nice", "system", "irq", "softirq", "steal")
    return float(sum(getattr(times, kind, 0.0) for kind in kinds)) - time.process_time()


def _idle() -> float:
    """The seconds that the cores of this machine have been idle, added up."""
    return float(psutil.cpu_times().idle)
