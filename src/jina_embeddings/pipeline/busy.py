"""How much of a run's time its engine had work: below 1, reading or writing is what the run waits for."""

from __future__ import annotations

import time
from typing import Any


class BusyTime:
    """Adds up the seconds in which an engine had work, of calls that overlap."""

    def __init__(self) -> None:
        self._until = 0.0

    def add(self, start: float, stop: float) -> float:
        """The seconds of a call that no earlier one has covered. Calls come in the order in which they began."""
        new = max(0.0, stop - max(start, self._until))
        self._until = max(self._until, stop)
        return new


class BusyShare:
    """The share of one process after the other, of what they report."""

    def __init__(self) -> None:
        self._busy_s = self._took_s = 0.0
        self._last: float | None = None

    def note(self, name: str, values: tuple[Any, ...]) -> None:
        """name, values: of a report of `Job.embed_shards`."""
        now = time.perf_counter()
        if name == "begun" and self._last is None:
            self._last = now
        elif name == "ended" and self._last is not None and len(values) == 3:
            self._busy_s += values[2]
            self._took_s += now - self._last
            self._last = now

    @property
    def share(self) -> float | None:
        """From 0 to 1; None before the first rows are done, and on a cluster."""
        return min(1.0, self._busy_s / self._took_s) if self._took_s else None
