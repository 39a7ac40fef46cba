"""What becomes of answered requests: they are counted, logged and traced together, a moment later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope

    from .limits import Budget
    from .metrics import Metrics
    from .records import Record
    from .request_log import RequestLog
    from .spans import Spans

_AFTER_S = 0.05
_MAX_WAITING = 512


class Ledger:
    """One after the other they would cost more: a system call for each line, and code that no cache holds any more.

    Used from one event loop.
    """

    def __init__(self, metrics: Metrics, log: RequestLog, spans: Spans):
        self._metrics, self._log, self._spans = metrics, log, spans
        self._waiting: list[tuple[Record, Scope]] = []
        self._due: asyncio.TimerHandle | None = None

    def add(self, record: Record, scope: Scope) -> None:
        """A request that was answered, in whatever way."""
        self._waiting.append((record, scope))
        if len(self._waiting) >= _MAX_WAITING:
            self.flush()
        elif self._due is None:
            self._due = asyncio.get_running_loop().call_later(_AFTER_S, self.flush)

    def flush(self) -> None:
        """Enters what waits. Called once more at the end."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        waiting, self._waiting = self._waiting, []
        for record, scope in waiting:
            self._metrics.count(record)
            self._spans.keep(record, scope)
        self._log.write([record.line() for record, _ in waiting])

    def render(self, budget: Budget) -> bytes:
        """For Prometheus, with all that was answered until now."""
        self.flush()
        return self._metrics.render(budget)
