"""What a command prints on standard error at its end: failures, truncated texts, files left out, and counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .terminal import say

if TYPE_CHECKING:
    from ..apps.index import Summary
    from ..pipeline.rows import Failure, LeftOut

_MAX_NAMES = 20


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun: `1 row`, `2,000 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def say_failed(failures: Sequence[Failure | str], noun: str = "input") -> None:
    """Lists all inputs that failed."""
    if failures:
        say(f"{counted(len(failures), noun)} failed:")
        for failure in failures:
            say(f"  {failure}")


def say_cut(names: Sequence[str]) -> None:
    """Lists the first texts that were truncated."""
    verb = "was" if len(names) == 1 else "were"
    _say_first(
        names,
        f"{counted(len(names), 'text')} {verb} too long and {verb} cut, at --max-length or where the model stops "
        "reading; what comes after is not in the vectors:",
    )


def say_left_out(files: Sequence[LeftOut]) -> None:
    """Lists the first files of folders that have nothing to embed, each with the reason."""
    _say_first(files, f"left out {counted(len(files), 'file')}:")


def report(summary: Summary, num_passages: int, took_s: float, into: str) -> None:
    """Reports what an update of an index did."""
    say_failed(summary.failures)
    say_cut(summary.cut)
    say_left_out(summary.left_out)
    say(
        f"{num_passages:,} passages in {into}: {summary.embedded:,} embedded and {summary.reused:,} reused in"
        f" {took_s:.1f} s; documents: {summary.documents:,} new or changed, {summary.unchanged:,} unchanged,"
        f" {summary.removed:,} removed, {len(summary.left_out):,} left out"
    )


def _say_first(names: Sequence[object], head: str) -> None:
    if names:
        say(head)
        for name in names[:_MAX_NAMES]:
            say(f"  {name}")
        if len(names) > _MAX_NAMES:
            say(f"  and {len(names) - _MAX_NAMES:,} more")
