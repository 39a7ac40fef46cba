"""Joins two rankings by their scores."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

DENSE_SHARE = 0.8
"""Chosen on a manual and on functions, confirmed on others: benchmarks/results/joining.json."""


def join(
    dense: Sequence[tuple[Key, float]], words: Sequence[tuple[Key, float]], dense_share: float = DENSE_SHARE
) -> dict[Key, float]:
    """Returns the joint score of each key, from 0 to 1, best first.

    It is the weighted mean of its scores, each scaled so that the best of its ranking has 1 and the last 0; a key that
    a ranking doesn't have counts as 0 there.

    dense, words: keys with their scores, best first.

    >>> join([("a", 0.9), ("b", 0.8), ("c", 0.5)], [("b", 7.0), ("d", 3.0)])
    {'a': 0.8, 'b': 0.8, 'c': 0.0, 'd': 0.0}
    """
    scores: dict[Key, float] = {}
    for ranking, share in ((dense, dense_share), (words, 1 - dense_share)):
        if not ranking:
            continue
        best, least = ranking[0][1], ranking[-1][1]
        for key, score in ranking:
            scaled = (score - least) / (best - least) if best > least else 1.0
            scores[key] = scores.get(key, 0.0) + share * scaled
    return dict(sorted(scores.items(), key=lambda item: -item[1]))
