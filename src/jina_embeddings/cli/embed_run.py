"""`embed --output`: embeds into one file, and prints progress, failures and a summary."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..errors import OptionError
from ..pipeline.to_file import FileRun, Tally
from .model import ModelChoice
from .progress import Progress
from .summary import counted, say_cut, say_failed, say_left_out
from .terminal import say


def embed_to_file(run: FileRun, paths: Sequence[str], choice: ModelChoice, on_error: str) -> int:
    """Embeds and writes all rows, and returns how many inputs failed."""
    if on_error not in ("skip", "raise"):
        raise OptionError(f"--on-error is skip or raise, not {on_error!r}")
    run.check(paths)
    with _tally(strict=on_error == "raise") as tally:
        items = run.read(paths, tally)
        with choice.loaded(run.form.task) as model:
            start = time.perf_counter()
            with Progress(run.reader.counts(paths)) as progress:
                run.write(model, items, tally, progress.advance)
            took_s = time.perf_counter() - start
    rate = tally.num_rows / max(took_s, 1e-9)
    say(f"{counted(tally.num_rows, 'row')} in {took_s:.1f} s ({rate:,.1f} rows/s) in {run.output}")
    return len(tally.failures)


@contextmanager
def _tally(*, strict: bool) -> Iterator[Tally]:
    """At the end, also after an error, lists the inputs that failed, were truncated or were left out."""
    tally = Tally(strict)
    try:
        yield tally
    finally:
        say_failed(tally.failures)
        say_cut(tally.cut)
        say_left_out(tally.left_out)
