"""One JSON line a request on standard output."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable, Iterator
from typing import Any

import orjson


class RequestLog:
    """Writes lines to the file of a descriptor; None for no log."""

    def __init__(self, descriptor: int | None = None):
        self._descriptor = descriptor

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Writes the lines as JSON, several with one system call."""
        if self._descriptor is None:
            return
        try:
            for text in _joined(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines):
                while text:
                    text = text[os.write(self._descriptor, text) :]
        except OSError:
            # Nobody reads the log any more, which must not keep requests from being answered.
            self._descriptor = None


def _joined(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Joins lines as long as a pipe takes them whole, since several processes may write to it."""
    text = b""
    for line in lines:
        if text and len(text) + len(line) > select.PIPE_BUF:
            yield text
            text = b""
        text += line
    yield text
