"""One JSON line a request on standard output."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import orjson

_WRITE_AFTER_S = 0.05
_MAX_WAITING = 10_000


class RequestLog:
    """Lines are written together, a moment later: a system call for each would cost more than all else about it.

    descriptor: of an open file; None for no log.
    """

    def __init__(self, descriptor: int | None = None):
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        self._due: asyncio.TimerHandle | None = None

    def write(self, line: dict[str, Any]) -> None:
        # Where nobody reads, the server's memory must not fill with what would be written.
        if self._descriptor is None or len(self._lines) >= _MAX_WAITING:
            return
        self._lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_WRITE_AFTER_S, self.flush)

    def flush(self) -> None:
        """Writes what waits. Called once more at the end."""
        self._due = None
        text, self._lines = b"".join(self._lines), []
        while text and self._descriptor is not None:
            try:
                text = text[os.write(self._descriptor, text) :]
            except OSError:
                # Its reader has gone; requests are answered all the same.
                self._descriptor = None
