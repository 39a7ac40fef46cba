"""Deduplication by meaning: which rows to keep, and which kept row represents each of the others.

Rows are processed in order. A row whose cosine to an earlier kept row reaches the threshold is assigned to the nearest
such row; otherwise it is kept. So every row reaches the threshold with its representative (similarity isn't chained),
no two kept rows are duplicates, and memory doesn't grow with the number of duplicate pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import OptionError
from ...vectors.similarity import normalize
from .neighbours import PROBES, Advance, approximate_index, blocks, check_vectors, is_small, load_faiss, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...types import FloatArray

THRESHOLD = 0.9
_ROUNDING_ERROR = 1e-5
"""The cosine of two equal vectors may be this much below 1."""

_FLOAT16_ERROR = 2e-3
"""A cosine from float16 may be this much too low; scores that near to the threshold are computed again."""

_MAX_TRIALS = 16
_RATE_TOLERANCE = 0.002
"""`deduplicate_to_rate` tries this many thresholds at most, and stops when the rate is this close."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are duplicates of their representative.

    rows: in order, the representative first.
    scores: the cosine of each row with the representative.
    """

    representative: int
    rows: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The result of a deduplication.

    representatives: (n,), the representative of each row; a kept row is its own.
    scores: (n,), the cosine of each row with its representative.
    threshold: the lowest cosine of two duplicates.
    """

    representatives: NDArray[np.int64]
    scores: FloatArray
    threshold: float

    @property
    def kept(self) -> NDArray[np.int64]:
        """The rows that are kept, in order."""
        return np.flatnonzero(self.representatives == np.arange(len(self.representatives)))

    @property
    def rate(self) -> float:
        """The share of rows that are not kept."""
        return 1 - len(self.kept) / len(self.representatives) if len(self.representatives) else 0.0

    def groups(self) -> Iterator[Group]:
        """The groups of two or more rows, in the order of their representatives."""
        if not len(self.representatives):
            return
        order = np.argsort(self.representatives, kind="stable")
        sorted_representatives = self.representatives[order]
        starts = np.flatnonzero(np.diff(sorted_representatives, prepend=-1))
        for start, rows in zip(starts, np.split(order, starts[1:]), strict=True):
            if len(rows) > 1:
                scores = tuple(float(score) for score in self.scores[rows])
                yield Group(int(sorted_representatives[start]), tuple(map(int, rows)), scores)


def deduplicate(
    vectors: FloatArray,
    threshold: float = THRESHOLD,
    *,
    exact: bool | None = None,
    probes: int = PROBES,
    advance: Advance = None,
) -> Duplicates:
    """Finds the rows that are duplicates of earlier rows.

    Args:
        vectors: (n, dim), in memory or memory-mapped.
        threshold: the lowest cosine of two duplicates, above 0 and up to 1.
        exact: True compares each row with all rows kept so far; False with those in the `probes` nearest inverted
            lists, and with all rows of the same block of 2,048. None chooses by size.
        advance: called with the number of rows that were compared since its last call.

    Memory: a copy of the kept rows, in float16 if approximate, in float32 if exact.

    Raises:
        OptionError: the threshold is out of range.
        DimensionError: vectors are not (n, dim).
    """
    num_vectors, dim = check_vectors(vectors)
    if not 0 < threshold <= 1:
        raise OptionError(f"threshold={threshold} is out of range: a cosine above 0 and up to 1")
    representatives = np.arange(num_vectors, dtype=np.int64)
    scores = np.ones(num_vectors, dtype=np.float32)
    if exact is None:
        exact = is_small(num_vectors, num_vectors, dim)
    kept = _Kept(vectors, exact=exact, probes=probes)
    least = threshold - _ROUNDING_ERROR
    for start, block in blocks(vectors, advance=advance):
        before, before_scores = kept.nearest(block, least)
        representatives[start : start + len(block)], scores[start : start + len(block)] = _join(
            block, start, before, before_scores, least
        )
        stay = np.flatnonzero(representatives[start : start + len(block)] == np.arange(start, start + len(block)))
        kept.add(block[stay], stay + start)
    return Duplicates(representatives, scores, threshold)


def deduplicate_to_rate(
    vectors: FloatArray, rate: float, *, exact: bool | None = None, advance: Advance = None
) -> Duplicates:
    """`deduplicate` at a threshold that removes about this share of the rows.

    Args:
        rate: the share to remove, above 0 and below 1. It can't be reached if so many rows are equal that any threshold
            removes more. The result has the rate and the threshold that were reached.
        advance: as in `deduplicate`, during the search of the nearest other row.

    Time: a search of the nearest other row of each row, and up to 16 deduplications of the rows that have one near.
    """
    num_vectors, _ = check_vectors(vectors)
    if not 0 < rate < 1:
        raise OptionError(f"rate={rate} is out of range: a share above 0 and below 1")
    if num_vectors < 2:
        return deduplicate(vectors, 1.0, exact=exact)
    nearest_other = _nearest_other(vectors, exact, advance)
    ranked = np.sort(nearest_other)[::-1]
    # A binary search over ranks: with the cosine of rank r as threshold, at most r rows are removed, so the rank that
    # removes `rate * n` rows is `rate * n` or above.
    low, high = max(0, int(rate * num_vectors) - 1), num_vectors - 1
    best: Duplicates | None = None
    for _ in range(_MAX_TRIALS):
        middle = low if best is None else (low + high) // 2
        found = _deduplicate_near(vectors, nearest_other, float(np.clip(ranked[middle], 1e-3, 1.0)), exact)
        if best is None or abs(found.rate - rate) < abs(best.rate - rate):
            best = found
        if abs(found.rate - rate) <= _RATE_TOLERANCE or low >= high:
            break
        if found.rate > rate:
            high = middle - 1
        else:
            low = middle + 1
    assert best is not None
    return best


def _deduplicate_near(
    vectors: FloatArray, nearest_other: FloatArray, threshold: float, exact: bool | None
) -> Duplicates:
    """`deduplicate`, leaving out rows whose nearest other row is below the threshold."""
    rows = np.flatnonzero(nearest_other >= threshold - _FLOAT16_ERROR)
    found = deduplicate(vectors[rows], threshold, exact=exact)
    representatives = np.arange(len(vectors), dtype=np.int64)
    scores = np.ones(len(vectors), dtype=np.float32)
    representatives[rows], scores[rows] = rows[found.representatives], found.scores
    return Duplicates(representatives, scores, threshold)


def _nearest_other(vectors: FloatArray, exact: bool | None, advance: Advance) -> FloatArray:
    """The cosine of each row with its nearest other row, (n,)."""
    scores, rows = nearest(vectors, vectors, 2, exact=exact, advance=advance)
    # With equal rows, the first neighbour of a row need not be itself.
    own = rows[:, 0] == np.arange(len(rows))
    return np.asarray(np.maximum(np.where(own, scores[:, 1], scores[:, 0]), 0), dtype=np.float32)


def _join(
    block: FloatArray, start: int, before: NDArray[np.int64], before_scores: FloatArray, least: float
) -> tuple[NDArray[np.int64], FloatArray]:
    """The representative and the score of each row of a block.

    start: index of the block's first row.
    before, before_scores: the nearest row kept before the block for each row, -1 for none, and its cosine.
    least: the lowest cosine of duplicates.
    """
    rows = np.arange(len(block))
    representatives = np.where(before >= 0, before, rows + start)
    scores = np.where(before >= 0, before_scores, 1).astype(np.float32)
    within = np.tril(block @ block.T, -1)
    kept = before < 0
    for row in np.flatnonzero((within >= least).any(axis=1)):
        candidates = np.flatnonzero((within[row, :row] >= least) & kept[:row])
        if not len(candidates):
            continue
        nearest_row = candidates[within[row, candidates].argmax()]
        score = within[row, nearest_row]
        if kept[row] or score > scores[row]:
            representatives[row], scores[row], kept[row] = nearest_row + start, min(score, 1), False
    return representatives, scores


class _Kept:
    """A search index of the rows kept so far."""

    def __init__(self, vectors: FloatArray, *, exact: bool, probes: int):
        self._vectors, self._exact = vectors, exact
        self._index: Any = (
            load_faiss().IndexFlatIP(vectors.shape[1])
            if exact
            else approximate_index(vectors, probes=probes, filled=False)
        )
        self._rows = np.zeros(0, dtype=np.int64)

    def add(self, block: FloatArray, rows: NDArray[np.int64]) -> None:
        self._index.add(np.ascontiguousarray(block))
        self._rows = np.concatenate([self._rows, rows])

    def nearest(self, block: FloatArray, least: float) -> tuple[NDArray[np.int64], FloatArray]:
        """The nearest kept row of each row, -1 if none reaches the cosine `least`, and its cosine; both (n,)."""
        if not len(self._rows):
            return np.full(len(block), -1), np.zeros(len(block), dtype=np.float32)
        scores, numbers = (column[:, 0] for column in self._index.search(block, 1))
        near = np.flatnonzero((numbers >= 0) & (scores >= least - _FLOAT16_ERROR))
        if not self._exact and len(near):
            others = normalize(self._vectors[self._rows[numbers[near]]])
            scores[near] = np.einsum("ij,ij->i", block[near], others)
        near = near[scores[near] >= least]
        rows = np.full(len(block), -1, dtype=np.int64)
        rows[near] = self._rows[numbers[near]]
        return rows, np.minimum(scores, 1)
