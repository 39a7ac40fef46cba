"""What came of an update of an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .console import say

if TYPE_CHECKING:
    from ..apps.index import Summary


def report(summary: Summary, num_passages: int, took_s: float, into: str) -> None:
    """On standard error: what failed, and the counts."""
    if summary.failures:
        say(f"{len(summary.failures):,} could not be indexed:")
        for failure in summary.failures:
            message = str(failure.error)
            say(f"  {message if message.startswith(repr(failure.id)) else f'{failure.id}: {message}'}")
    say(
        f"{num_passages:,} passages in {into}: {summary.embedded:,} embedded and {summary.reused:,} reused in"
        f" {took_s:.1f} s; documents: {summary.documents:,} new or changed, {summary.unchanged:,} unchanged,"
        f" {summary.removed:,} removed, {summary.left_out:,} left out"
    )
