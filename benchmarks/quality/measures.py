"""Metrics of scores; pure numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating[Any]]


def recall_at(scores: Scores, k: int = 1) -> float:
    """The share of queries whose own document is among the first k.

    Args:
        scores: (n, n), query i with document j; document i is the right one. A document that scores the
            same as the right one counts as before it, so equal vectors for everything give 0.

    >>> recall_at(np.array([[0.9, 0.1], [0.8, 0.2]]))
    0.5
    """
    scores = np.asarray(scores)
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or not len(scores):
        raise ValueError(f"scores are (n, n) with n above 0, not {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("scores hold a NaN or an infinite number")
    before = (scores >= np.diag(scores)[:, None]).sum(axis=1) - 1
    return float((before < k).mean())


def family_means(figures: Mapping[str, float]) -> dict[str, float]:
    """
    >>> family_means({"udhr/de": 1.0, "udhr/fr": 0.5, "boolq": 0.1})
    {'udhr': 0.75}
    """
    families: dict[str, list[float]] = {}
    for name, figure in figures.items():
        family, slash, _ = name.partition("/")
        if slash:
            families.setdefault(family, []).append(figure)
    return {family: sum(members) / len(members) for family, members in families.items()}


def spearman(a: Scores | Sequence[float], b: Scores | Sequence[float]) -> float:
    """Spearman's rank correlation: Pearson's correlation of the ranks; equal values have the mean of their ranks.

    >>> round(spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0])), 3)
    0.5
    """
    ranks = [_ranks(np.asarray(values, dtype=np.float64)) for values in (a, b)]
    if len(ranks[0]) != len(ranks[1]) or len(ranks[0]) < 2:
        raise ValueError(f"{len(ranks[0])} and {len(ranks[1])} numbers have no rank correlation")
    x, y = (rank - rank.mean() for rank in ranks)
    spread = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / spread) if spread else 0.0


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[group])
