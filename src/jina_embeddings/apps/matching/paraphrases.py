"""Paraphrase mining: the most similar pairs within one list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .neighbours import PROBES, Advance, approximate_index, blocks, check_count, check_vectors, is_small
from .pairs import BestPairs, Pair

if TYPE_CHECKING:
    from ...types import FloatArray

NEIGHBOURS = 32
"""Neighbours of each row that an approximate search compares."""


def mine_paraphrases(
    vectors: FloatArray,
    *,
    limit: int = 1000,
    min_score: float = 0.0,
    exact: bool | None = None,
    neighbours: int = NEIGHBOURS,
    probes: int = PROBES,
    advance: Advance = None,
) -> list[Pair]:
    """The `limit` pairs of rows with the highest cosine, best first; `left` is before `right`.

    Args:
        vectors: (n, dim).
        min_score: pairs below it are left out.
        exact: True compares all pairs, a block at a time; False compares each row with its `neighbours` nearest in
            `probes` inverted lists. None chooses by size.
        advance: called with the number of rows that were compared since its last call.

    Memory: `limit` pairs and one block of scores; if approximate, also a float16 copy of the vectors.
    """
    num_vectors, dim = check_vectors(vectors)
    check_count("limit", limit)
    check_count("neighbours", neighbours)
    best = BestPairs(limit, min_score)
    if exact if exact is not None else is_small(num_vectors, num_vectors, dim):
        _add_all(vectors, best, advance)
    else:
        _add_nearest(vectors, best, neighbours, probes, advance)
    return best.best()


def _add_all(vectors: FloatArray, best: BestPairs, advance: Advance) -> None:
    for start, block in blocks(vectors, advance=advance):
        for offset, other in blocks(vectors[start:]):
            scores = block @ other.T
            if not offset:
                # On the diagonal, the block contains each pair twice, and each row with itself.
                scores[np.tril_indices(len(block), m=len(other))] = -np.inf
            rows, columns = np.nonzero(scores >= best.floor)
            best.add(scores[rows, columns], rows + start, columns + start + offset)


def _add_nearest(vectors: FloatArray, best: BestPairs, neighbours: int, probes: int, advance: Advance) -> None:
    index = approximate_index(vectors, probes=probes, filled=True)
    for start, block in blocks(vectors, advance=advance):
        scores, others = index.search(block, neighbours + 1)
        rows = np.arange(start, start + len(block))[:, None]
        # A pair may be found from either of its rows; ordered, both are the same pair.
        left, right = np.minimum(rows, others), np.maximum(rows, others)
        wanted = (others >= 0) & (left != right) & (scores >= best.floor)
        best.add(scores[wanted], left[wanted], right[wanted])
