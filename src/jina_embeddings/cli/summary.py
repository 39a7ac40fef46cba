"""The end of a command on standard error: what failed, what was cut, what was left out, and the counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .terminal import say

if TYPE_CHECKING:
    from ..apps.index import Summary
    from ..pipeline.rows import Failure, LeftOut

_SHOWN = 20


def counted(number: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def say_failed(failures: Sequence[Failure | str], noun: str = "input") -> None:
    """All of them: each is something to mend."""
    if failures:
        say(f"{counted(len(failures), noun)} failed:")
        for failure in failures:
            say(f"  {failure}")


def say_cut(names: Sequence[str]) -> None:
    """Texts that were longer than the model reads, by name."""
    verb = "was" if len(names) == 1 else "were"
    _say_first(
        names,
        f"{counted(len(names), 'text')} {verb} too long and {verb} cut, at --max-length or where the model stops "
        "reading; what comes after is not in the vectors:",
    )


def say_left_out(files: Sequence[LeftOut]) -> None:
    """Files of folders without anything to embed, each with the reason."""
    _say_first(files, f"left out {counted(len(files), 'file')}:")


def report(summary: Summary, num_passages: int, took_s: float, into: str) -> None:
    """What an update of an index did."""
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
        for name in names[:_SHOWN]:
            say(f"  {name}")
        if len(names) > _SHOWN:
            say(f"  and {len(names) - _SHOWN:,} more")
