"""What is known of rows that ended a worker, and how one among many is found: each time in a sixteenth of the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

CHUNK_ROWS = 1024
"""Rows that the model is given together."""
PIECES = 16
"""A suspected stretch is tried in so many: starting an engine again costs more than embedding a few rows."""

Span: TypeAlias = tuple[int, int]
"""First row, and the first after it."""


@dataclass(frozen=True, slots=True)
class Caution:
    """What is known of rows that ended a worker.

    poison: rows that are rejected unseen.
    suspects: stretches that one of was under way when a worker ended: tried in pieces before any work goes on.
    deaths: how often a worker ended in each window of `CHUNK_ROWS` rows, by its first row.
    """

    poison: frozenset[int] = frozenset()
    suspects: tuple[Span, ...] = ()
    deaths: Mapping[int, int] = field(default_factory=dict)

    def after_death(self, running: Sequence[Span], trying: Span | None) -> Caution:
        """running: what was under way when a worker ended; trying: the piece of the first suspect that was."""
        if trying is not None:
            start, stop = trying
            if stop - start == 1:
                return replace(self.cleared(trying), poison=self.poison | {start})
            (_, end), *rest = self.suspects
            behind = [(stop, end)] if stop < end else []
            return replace(self, suspects=(trying, *behind, *rest))
        windows = {window for start, stop in running for window in range(start - start % CHUNK_ROWS, stop, CHUNK_ROWS)}
        deaths = {**self.deaths, **{window: self.deaths.get(window, 0) + 1 for window in windows}}
        return Caution(self.poison, _joined(running), deaths)

    def cleared(self, piece: Span) -> Caution:
        """What is known after a piece at the start of the first suspect did no harm."""
        if not self.suspects:
            return self
        (_, end), *rest = self.suspects
        return replace(self, suspects=((piece[1], end), *rest) if piece[1] < end else tuple(rest))

    def most_rows(self, start: int) -> int:
        """From a row on, how many may run together: fewer where workers have ended again though no row did it alone."""
        window = start - start % CHUNK_ROWS
        here, behind = self._width(window), self._width(window + CHUNK_ROWS)
        return min(here, window + CHUNK_ROWS - start) if behind < CHUNK_ROWS else here

    def _width(self, window: int) -> int:
        narrowed: int = PIECES ** max(0, self.deaths.get(window, 0) - 1)
        return max(1, CHUNK_ROWS // narrowed)


def pieces(span: Span) -> Iterator[Span]:
    """A stretch in `PIECES`, or in single rows where it has fewer."""
    start, stop = span
    width = -(-(stop - start) // PIECES)
    for first in range(start, stop, width):
        yield first, min(first + width, stop)


def _joined(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Sorts spans and joins those that touch."""
    found: list[Span] = []
    for start, stop in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return tuple(found)
