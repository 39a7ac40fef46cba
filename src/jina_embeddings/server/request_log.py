"""One JSON line a request on standard output."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import orjson


class RequestLog:
    """Writes lines to the file of a descriptor; None for no log."""

    def __init__(self, descriptor: int | None = None):
        self._descriptor = descriptor

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Writes the lines as JSON, with one system call if it takes them all."""
        if self._descriptor is None:
            return
        text = b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)
        try:
            while text:
                text = text[os.write(self._descriptor, text) :]
        except OSError:
            # Nobody reads the log any more, which must not keep requests from being answered.
            self._descriptor = None
