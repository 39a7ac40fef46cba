"""Duplicates by meaning: which rows to keep, and which kept row stands for each of the others.

Rows are taken in order. One that reaches the threshold with a row kept before it joins the nearest of those; any other
is kept. So every row is as near to its representative as was asked for, no chain of small steps makes a group of
unlike rows, no two kept rows are duplicates, and no pair is ever stored, however large a group is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import OptionError
from ...vectors.similarity import normalize
from .neighbours import PROBES, approximate_index, blocks, check_vectors, is_small, load_faiss, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...types import FloatArray

THRESHOLD = 0.9
_ROUNDING = 1e-5
"""Two equal vectors may score this much below 1."""

_APPROXIMATION = 2e-3
"""A score from float16 may be this much too low; it is then computed again."""

_TRIALS = 16
_TOLERANCE = 0.002


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are duplicates of each other. rows: in order, the representative first; scores: cosines with it."""

    representative: int
    rows: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What came of a deduplication.

    representatives: (n,) the row that stands for each row: itself, if it is kept.
    scores: (n,) cosine with it.
    threshold: the least cosine of two duplicates.
    """

    representatives: NDArray[np.int64]
    scores: FloatArray
    threshold: float

    @property
    def kept(self) -> NDArray[np.int64]:
        """Rows that are kept, in order."""
        return np.flatnonzero(self.representatives == np.arange(len(self.representatives)))

    @property
    def rate(self) -> float:
        """Share of the rows that are not kept."""
        return 1 - len(self.kept) / len(self.representatives) if len(self.representatives) else 0.0

    def groups(self) -> Iterator[Group]:
        """The groups of two rows and more, in the order of their representatives."""
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
) -> Duplicates:
    """Which rows are duplicates of rows before them.

    Args:
        vectors: (n, dim), in memory or mapped from a file.
        threshold: least cosine of two duplicates, above 0 and up to 1.
        exact: True compares with every row kept so far; False with those in `probes` inverted lists, and with all of
            the same block of 2,048 rows. None decides by size.

    Memory: the kept rows once more, in float16 if approximate and else in float32.

    Raises:
        OptionError: a threshold out of range.
        DimensionError: no (n, dim).
    """
    num_vectors, dim = check_vectors(vectors)
    if not 0 < threshold <= 1:
        raise OptionError(f"threshold={threshold} is out of range: a cosine above 0 and up to 1")
    representatives = np.arange(num_vectors, dtype=np.int64)
    scores = np.ones(num_vectors, dtype=np.float32)
    if exact is None:
        exact = is_small(num_vectors, num_vectors, dim)
    kept = _Kept(vectors, exact=exact, probes=probes)
    least = threshold - _ROUNDING
    for start, block in blocks(vectors):
        before, before_scores = kept.nearest(block, least)
        representatives[start : start + len(block)], scores[start : start + len(block)] = _join(
            block, start, before, before_scores, least
        )
        stay = np.flatnonzero(representatives[start : start + len(block)] == np.arange(start, start + len(block)))
        kept.add(block[stay], stay + start)
    return Duplicates(representatives, scores, threshold)


def deduplicate_to_rate(vectors: FloatArray, rate: float, *, exact: bool | None = None) -> Duplicates:
    """`deduplicate` at a threshold that removes about this share of the rows.

    Args:
        rate: above 0 and below 1. Missed where so many rows are equal that any threshold removes more; what was
            reached is in the result, and so is the threshold.

    Time: one search for each row's nearest other row, and up to 16 deduplications of those rows that have one near.
    """
    num_vectors, _ = check_vectors(vectors)
    if not 0 < rate < 1:
        raise OptionError(f"rate={rate} is out of range: a share above 0 and below 1")
    if num_vectors < 2:
        return deduplicate(vectors, 1.0, exact=exact)
    nearest_other = _nearest_other(vectors, exact)
    ranked = np.sort(nearest_other)[::-1]
    # In ranks: at the cosine of rank r, at most r rows are removed. So the rank wanted is `rate * n` or more.
    low, high = max(0, int(rate * num_vectors) - 1), num_vectors - 1
    best: Duplicates | None = None
    for _ in range(_TRIALS):
        middle = low if best is None else (low + high) // 2
        found = _deduplicate_near(vectors, nearest_other, float(np.clip(ranked[middle], 1e-3, 1.0)), exact)
        if best is None or abs(found.rate - rate) < abs(best.rate - rate):
            best = found
        if abs(found.rate - rate) <= _TOLERANCE or low >= high:
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
    """`deduplicate`, without looking at rows that have no other near them."""
    rows = np.flatnonzero(nearest_other >= threshold - _APPROXIMATION)
    found = deduplicate(vectors[rows], threshold, exact=exact)
    representatives = np.arange(len(vectors), dtype=np.int64)
    scores = np.ones(len(vectors), dtype=np.float32)
    representatives[rows], scores[rows] = rows[found.representatives], found.scores
    return Duplicates(representatives, scores, threshold)


def _nearest_other(vectors: FloatArray, exact: bool | None) -> FloatArray:
    """Cosine of each row with the nearest other one, (n,)."""
    scores, rows = nearest(vectors, vectors, 2, exact=exact)
    # Of equal rows, a row need not find itself first.
    own = rows[:, 0] == np.arange(len(rows))
    return np.asarray(np.maximum(np.where(own, scores[:, 1], scores[:, 0]), 0), dtype=np.float32)


def _join(
    block: FloatArray, start: int, before: NDArray[np.int64], before_scores: FloatArray, least: float
) -> tuple[NDArray[np.int64], FloatArray]:
    """The representative and score of each row of a block, given the nearest row kept before the block (-1: none)."""
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
    """The rows kept so far, searchable."""

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
        """(n,) the nearest kept row of each, -1 where none reaches `least`, and its cosine."""
        if not len(self._rows):
            return np.full(len(block), -1), np.zeros(len(block), dtype=np.float32)
        scores, numbers = (column[:, 0] for column in self._index.search(block, 1))
        near = np.flatnonzero((numbers >= 0) & (scores >= least - _APPROXIMATION))
        if not self._exact and len(near):
            others = normalize(self._vectors[self._rows[numbers[near]]])
            scores[near] = np.einsum("ij,ij->i", block[near], others)
        near = near[scores[near] >= least]
        rows = np.full(len(block), -1, dtype=np.int64)
        rows[near] = self._rows[numbers[near]]
        return rows, np.minimum(scores, 1)
