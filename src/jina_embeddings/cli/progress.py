"""A progress bar on stderr, where somebody is looking at it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from .console import to_terminal


class Progress:
    """Count, rate and time left of a run; nothing at all where stderr is no terminal.

    counts: the rows of each source, None for one that can't be known. They are added up beside the
        run, so that it need not wait; there is no time left to show until the last of them is in.
    """

    def __init__(self, counts: Iterator[int | None]):
        self._counts = counts
        self._bar: Any = None
        self._task: Any = None
        self._done = threading.Event()

    def __enter__(self) -> Self:
        if to_terminal():
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._bar is not None:
            self._bar.stop()

    def advance(self) -> None:
        if self._bar is not None:
            self._bar.advance(self._task)

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar
        from rich.text import Text

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                speed = task.finished_speed or task.speed
                return Text("" if speed is None else f"{speed:,.1f} rows/s")

        class Count(ProgressColumn):
            def render(self, task: Task) -> Text:
                total = "" if task.total is None else f" of {int(task.total):,}"
                return Text(f"{int(task.completed):,}{total} rows")

        columns = (TextColumn("{task.description}"), BarColumn(), Count(), Rate(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._bar.start()
        self._task = self._bar.add_task("embedding", total=None)
        threading.Thread(target=self._count, name="jina-embeddings-count", daemon=True).start()

    def _count(self) -> None:
        total = 0
        for count in self._counts:
            if count is None or self._done.is_set():
                return
            total += count
        self._bar.update(self._task, total=total)
