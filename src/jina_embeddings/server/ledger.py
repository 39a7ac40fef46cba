"""Counts, logs and traces answered requests: many together, a moment after they were answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope

    from ..fill import Fill
    from .limits import Budget
    from .metrics import Metrics
    from .records import Record
    from .request_log import RequestLog
    from .spans import Spans

_AFTER_S = 0.05
_MAX_WAITING = 512


class Ledger:
    """Keeps the records of answered requests until they are entered together.

    One by one they would take longer: a system call for each line, and code that the processor's caches have lost in
    between. Used from one event loop.
    """

    def __init__(self, budget: Budget, metrics: Metrics, log: RequestLog, spans: Spans):
        self._budget, self._metrics, self._log, self._spans = budget, metrics, log, spans
        self._waiting: list[tuple[Record, Scope]] = []
        self._due: asyncio.TimerHandle | None = None

    def add(self, record: Record, scope: Scope) -> None:
        """Takes the record of a request that was answered or refused."""
        self._waiting.append((record, scope))
        if len(self._waiting) >= _MAX_WAITING:
            self.flush()
        elif self._due is None:
            self._due = asyncio.get_running_loop().call_later(_AFTER_S, self.flush)

    def flush(self) -> None:
        """Enters the records that wait. Called once more when the server ends."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        waiting, self._waiting = self._waiting, []
        self.measure()
        self._metrics.count([record for record, _ in waiting])
        for record, scope in waiting:
            self._spans.keep(record, scope)
        self._log.write(record.line() for record, _ in waiting)

    def measure(self) -> None:
        """Enters what is under way."""
        self._metrics.measure(self._budget)

    def render(self, fill: Fill) -> bytes:
        """The metrics in Prometheus' text format, with all requests that this process has answered until now."""
        self.flush()
        return self._metrics.render(fill)
