"""`embed --into`: the options of the command as a `Run`, its progress on the terminal, and its summary."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Self

from ..errors import OptionError
from ..pipeline.busy import BusyShare
from ..pipeline.identity import Load
from ..pipeline.run import Run, Status
from .process import stops_on_signals
from .progress import Progress
from .summary import say_left_out
from .terminal import say


def embed_into(run: Run, load: Load) -> int:
    """Does what is left of a run, and returns how many rows of its share were rejected, earlier ones included."""
    # SIGTERM, which schedulers of clusters send, leaves the shard under way as Ctrl-C does.
    with Watch() as watch, stops_on_signals(lambda: None):
        try:
            summary = run.embed(load, watch.report)
        except KeyboardInterrupt:
            say(f"what is committed is kept: give the same command again to go on, or `status {run.into}`")
            raise
    print(json.dumps(asdict(summary)))
    say_left_out(summary.left_out)
    say(f"{summary.rows:,} rows in {run.into}, {summary.rejected:,} of them rejected, {summary.cut:,} too long and cut")
    return summary.rejected


class Watch:
    """Shows the progress of a run once it is planned."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self._busy = BusyShare()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        if self.progress is not None:
            self.progress.__exit__(None, None, None)

    def report(self, name: str, *values: Any) -> None:
        self._busy.note(name, values)
        if name == "planned":
            self._plan(values[0])
        elif name == "ended" and self.progress is not None:
            if self._busy.share is not None:
                self.progress.note = f", engine busy {self._busy.share:.0%} of the time"
            self.progress.advance(values[1] - values[0])

    def _plan(self, status: Status) -> None:
        total = status.rows - status.rows_done
        if not total:
            return
        what = f"{status.rows:,} rows of {status.files:,} files in {status.shards:,} shards"
        say(what if not status.shards_done else f"{what}; {status.shards_done:,} shards are done already")
        self.progress = Progress([total]).__enter__()


def names(text: str) -> tuple[str, ...]:
    """Parses a list of names separated by commas; each name is returned once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def fraction(text: str | None) -> float | None:
    """Parses a share such as `1%` or `0.01`. Raises OptionError for anything else."""
    if text is None:
        return None
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise OptionError(f"--max-bad is a share of the rows, 1% or 0.01, not {text!r}")
    return value
