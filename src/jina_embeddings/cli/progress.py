"""Shows the progress of a command on standard error: a bar on a terminal, else a line every half minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from .terminal import say, to_terminal

T = TypeVar("T")

LINE_S = 30.0


class Progress:
    """Shows the count, the rate and the time left of a run.

    counts: what there is to do, in parts. They are added up in a thread, so that the run need not wait for them. The
        time left is shown once all are known. None is a part of unknown size.
    noun: what is counted.
    sources: what `counts` counts, if that is something else, and has to go through `reading`. For example, an index
        counts passages, but knows only how many files there are.

    note: may be set to a text to show behind the rest.
    """

    def __init__(self, counts: Iterable[int | None], noun: str = "rows", *, sources: str | None = None):
        self._counts, self._noun, self._sources = counts, noun, sources
        self._num_done = self._num_read = 0
        self.note = ""
        self._total: int | None = None
        self._start: float | None = None
        self._ended = threading.Event()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if to_terminal():
            self._show_bar()
        else:
            threading.Thread(target=self._say_lines, name="jina-embeddings-progress", daemon=True).start()
        threading.Thread(target=self._count, name="jina-embeddings-count", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.stop()

    def advance(self, number: int = 1) -> None:
        """Adds to the number of things that are done."""
        self._begin()
        self._num_done += number
        self._update()

    def reading(self, sources: Iterable[T]) -> Iterator[T]:
        """Yields the sources, and counts each as read."""
        self._begin()
        for source in sources:
            self._num_read += 1
            self._update()
            yield source

    def line(self) -> str:
        """Returns the line to show, such as `1,200 of 5,000 rows, 40.0 rows/s, 2 minutes left`."""
        total = "" if self._total is None else f" of {self._total:,}"
        if self._sources:
            shown = f"{self._num_done:,} {self._noun}, {self._num_read:,}{total} {self._sources}"
        else:
            shown = f"{self._num_done:,}{total} {self._noun}"
        took = 0.0 if self._start is None else time.monotonic() - self._start
        if took > 0 and self._num_done:
            shown += f", {self._num_done / took:,.1f} {self._noun}/s"
        done = self._num_read if self._sources else self._num_done
        # Sources are read ahead of the engine, so when the last one has been read, the time left is unknown.
        if self._total and done and took > 0 and not (self._sources and done >= self._total):
            shown += f", {_duration(took * max(0, self._total - done) / done)} left"
        return shown + self.note

    def _begin(self) -> None:
        # The clock starts with the first count, so that loading the model doesn't lower the rate.
        if self._start is None:
            self._start = time.monotonic()

    def _update(self) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=self._num_read if self._sources else self._num_done)

    def _say_lines(self) -> None:
        while not self._ended.wait(LINE_S):
            if self._start is not None:
                say(self.line())

    def _show_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, ProgressColumn, Task
        from rich.progress import Progress as Bar
        from rich.text import Text

        line: Callable[[], str] = self.line

        class Line(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(line())

        self._bar = Bar(BarColumn(), Line(), console=Console(stderr=True), transient=True)
        self._bar.start()
        self._task = self._bar.add_task("", total=None)

    def _count(self) -> None:
        total = 0
        for count in self._counts:
            if count is None or self._ended.is_set():
                return
            total += count
        self._total = total
        if self._bar is not None:
            self._bar.update(self._task, total=total)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
