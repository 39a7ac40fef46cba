"""A process that renders pages of PDFs for its parent: `python -m jina_embeddings.inputs.rendering`.

The parent sends (operation, arguments) and gets (None, result), or (name of an error, its text). Pixels go through
memory that both have mapped.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from .pdfium import OpenPdf

_KEPT_BYTES = 32 * 2**20
"""Memory that is kept for the next page: that of a page of `PDF_PIXELS`."""
_POLL_S = 0.5


class Rendering(OpenPdf):
    """memory: a descriptor of that for pages."""

    def __init__(self, memory: int):
        super().__init__()
        self._memory = memory
        self._place: mmap.mmap | None = None

    def draw_there(self, number: int, scale: float) -> tuple[int, int, int]:
        """Draws a page into the memory, and returns its width, height and stride."""
        drawn = self.draw(number, scale)
        num_bytes = drawn.stride * drawn.height
        if self._place is None or len(self._place) < num_bytes:
            os.ftruncate(self._memory, num_bytes)
            self._place = mmap.mmap(self._memory, num_bytes)
        self._place[:num_bytes] = memoryview(drawn.buffer).cast("B")[:num_bytes]
        return drawn.width, drawn.height, drawn.stride

    def close(self) -> None:
        super().close()
        if self._place is not None and len(self._place) > _KEPT_BYTES:
            self._place = None
            os.ftruncate(self._memory, 0)


def main(connection: int, memory: int, parent: int) -> None:
    # The terminal's Ctrl-C is for the parent, whose end ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    pipe, rendering = Connection(connection), Rendering(memory)
    pipe.send(("ready", None))
    while True:
        try:
            operation, *arguments = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer: tuple[str | None, Any] = None, getattr(rendering, operation)(*arguments)
        except Exception as error:
            answer = type(error).__name__, str(error)
        pipe.send(answer)


def _end_with(parent: int) -> None:
    """The end of the pipe tells of the parent's end too, unless a process that it forked has the pipe as well."""
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    os._exit(1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
