"""Pairs of rows with a score, and the selection of the best pairs in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...types import FloatArray

_MAX_HELD_RATIO = 4
"""The worst pairs are dropped when this multiple of the wanted number is held."""


class Pair(NamedTuple):
    """Two rows, the score that ranks them, and the cosine of their vectors."""

    score: float
    cosine: float
    left: int
    right: int


class BestPairs:
    """Selects the `limit` pairs of the highest cosine among those added; a pair that is added twice counts once.

    Memory is bounded by the limit and the size of one addition.

    floor: pairs below this cosine need not be added.
    """

    def __init__(self, limit: int, min_score: float):
        self.floor = min_score
        self._limit = limit
        self._parts: list[tuple[FloatArray, NDArray[np.int64], NDArray[np.int64]]] = []
        self._held = 0

    def add(self, scores: FloatArray, left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
        """Adds pairs, given as three arrays (n,)."""
        wanted = scores >= self.floor
        self._parts.append((scores[wanted], left[wanted], right[wanted]))
        self._held += int(wanted.sum())
        if self._held > _MAX_HELD_RATIO * self._limit:
            self._drop()

    def best(self) -> list[Pair]:
        """The selected pairs, best first; equal scores are ordered by row."""
        self._drop()
        if not self._parts:
            return []
        scores, left, right = self._parts[0]
        order = np.lexsort((right, left, -scores))
        return [Pair(float(scores[i]), float(scores[i]), int(left[i]), int(right[i])) for i in order]

    def _drop(self) -> None:
        if not self._parts:
            return
        scores, left, right = (np.concatenate(columns) for columns in zip(*self._parts, strict=True))
        _, once = np.unique(left << 32 | right, return_index=True)
        scores, left, right = scores[once], left[once], right[once]
        if len(scores) > self._limit:
            best = np.argpartition(-scores, self._limit - 1)[: self._limit]
            scores, left, right = scores[best], left[best], right[best]
            self.floor = max(self.floor, float(scores.min()))
        self._parts, self._held = [(scores, left, right)], len(scores)
