"""What the commands share towards the terminal: quiet libraries, one-line errors, exit statuses."""

from __future__ import annotations

import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import typer

from ..errors import CautionWarning, JinaEmbeddingsError
from .streams import finish_output

if TYPE_CHECKING:
    from ..apps.index import Summary


PROBLEM = 1
ERROR = 2
SOME_FAILED = 3
INTERRUPTED = 130

# Read by the libraries when they are imported, here and in the processes that they start.
_QUIET = {
    "PYTHONWARNINGS": "ignore",
    "TRANSFORMERS_VERBOSITY": "error",
    "VLLM_LOGGING_LEVEL": "ERROR",
}


_ARGUMENT = re.compile(r"`(\w+)`")


@contextmanager
def command(debug: bool) -> Iterator[None]:
    """Around the body of a command: sets up logging, and turns errors into a line on stderr and an exit status."""
    try:
        _set_up(debug)
        yield
        finish_output()
    except JinaEmbeddingsError as error:
        _fail(error.code, error, debug)
    except BrokenPipeError:
        raise  # typer ends quietly when the reader of stdout has left
    except OSError as error:
        with suppress(OSError):
            finish_output()
        _fail("os_error", error, debug)
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception:
        # A fault of ours. Python's own status for it, 1, is that of a search that found nothing.
        traceback.print_exc()
        raise typer.Exit(ERROR) from None


def say(message: str) -> None:
    """A line on stderr; a run goes on where nobody can read it.

    What errors of the library name as an argument, `text_field`, is the option --text-field.
    """
    with suppress(OSError):
        print(_ARGUMENT.sub(lambda name: f"--{name[1].replace('_', '-')}", message), file=sys.stderr, flush=True)


def to_terminal() -> bool:
    """Whether somebody is looking at stderr."""
    return sys.stderr.isatty()


def _set_up(debug: bool) -> None:
    from .. import logs

    if debug:
        logs.configure("debug")
        return
    if not os.environ.get(logs.VARIABLE):
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        warnings.simplefilter("ignore")
        warnings.simplefilter("once", CautionWarning)
        warnings.showwarning = lambda message, *_: say(f"warning: {message}")
    if not to_terminal():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logs.configure()


def _fail(code: str, error: Exception, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    say(f"error [{code}]: {' '.join(str(error).split())}")
    raise typer.Exit(ERROR) from None


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

    def advance(self, rows: int = 1) -> None:
        if self._bar is not None:
            self._bar.advance(self._task, rows)

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


def report(summary: Summary, num_passages: int, took_s: float, into: str) -> None:
    """On standard error: what failed, and the counts."""
    if summary.failures:
        say(f"{len(summary.failures):,} could not be indexed:")
        for failure in summary.failures:
            say(f"  {failure}")
    say(
        f"{num_passages:,} passages in {into}: {summary.embedded:,} embedded and {summary.reused:,} reused in"
        f" {took_s:.1f} s; documents: {summary.documents:,} new or changed, {summary.unchanged:,} unchanged,"
        f" {summary.removed:,} removed, {summary.left_out:,} left out"
    )
