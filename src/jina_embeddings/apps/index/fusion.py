"""Two rankings joined to one by reciprocal ranks."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

RANK_OFFSET = 60
"""k of Cormack, Clarke and Büttcher 2009, "Reciprocal Rank Fusion outperforms Condorcet"."""


def join(*rankings: Sequence[Key]) -> dict[Key, float]:
    """Score of each key, best first: the sum of 1 / (60 + rank) over the rankings that have it, ranks from 1.

    >>> list(join(["a", "b"], ["b", "c"]))
    ['b', 'a', 'c']
    """
    scores: dict[Key, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking, 1):
            scores[key] = scores.get(key, 0.0) + 1 / (RANK_OFFSET + rank)
    return dict(sorted(scores.items(), key=lambda item: -item[1]))
