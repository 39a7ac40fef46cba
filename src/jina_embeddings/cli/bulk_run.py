"""`embed --into`: the options of the command as a `Run`, its progress on the terminal, and its summary."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Any, Self

from ..errors import OptionError
from ..pipeline.run import Run, Status
from ..pipeline.supervise import Load
from .terminal import Progress, say, to_terminal

_LINE_S = 30


def embed_into(run: Run, load: Load) -> int:
    """Does what is left of a run; the number of rows that its whole share rejected."""
    with _Watch() as watch:
        try:
            summary = run.embed(load, watch.report)
        except KeyboardInterrupt:
            say(f"what is committed is kept: give the same command again to go on, or `status {run.into}`")
            raise
    print(json.dumps(asdict(summary)))
    say(f"{summary.rows:,} rows in {run.into}, {summary.rejected:,} of them rejected")
    return summary.rejected


class _Watch:
    """Progress of a share: a bar on a terminal, else a line every half minute."""

    def __init__(self) -> None:
        self._rows = self._total = 0
        self._bar: Progress | None = None
        self._start = self._said = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)

    def report(self, name: str, *values: Any) -> None:
        if name == "planned":
            self._plan(values[0])
        elif name == "ended":
            self._advance(values[1] - values[0])

    def _plan(self, status: Status) -> None:
        self._total = status.rows - status.rows_done
        if not self._total:
            return
        what = f"{status.rows:,} rows of {status.files:,} files in {status.shards:,} shards"
        say(what if not status.shards_done else f"{what}; {status.shards_done:,} shards are done already")
        self._bar = Progress(iter([self._total])).__enter__()

    def _advance(self, rows: int) -> None:
        self._rows += rows
        if self._bar is not None:
            self._bar.advance(rows)
        now = time.monotonic()
        if not to_terminal() and now - self._said >= _LINE_S:
            self._said = now
            rate = self._rows / (now - self._start)
            left_s = max(0, self._total - self._rows) / rate
            say(f"{self._rows:,} of {self._total:,} rows, {rate:,.1f} rows/s, {left_s / 60:,.0f} minutes left")


def names(text: str) -> tuple[str, ...]:
    """Of a list with commas."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def fraction(text: str | None) -> float | None:
    """Raises OptionError for anything but `1%` or `0.01`."""
    if text is None:
        return None
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise OptionError(f"--max-bad is a share of the rows, 1% or 0.01, not {text!r}")
    return value
