"""Bitext mining: finds translations in two lists of sentences, pairs closer to each other than to neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .neighbours import Advance, check_count, nearest
from .pairs import Pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...types import FloatArray

NEIGHBOURS = 4
_MIN_DENOMINATOR = 1e-6
"""Lower bound of a margin's denominator; the ratio has no meaning if it is 0 or negative."""


def mine_bitext(
    source: FloatArray,
    target: FloatArray,
    *,
    neighbours: int = NEIGHBOURS,
    min_margin: float = 1.0,
    exact: bool | None = None,
    advance: Advance = None,
) -> list[Pair]:
    """Pairs of rows that translate each other, best first; each row is in one pair at most.

    The score is the ratio margin of Artetxe and Schwenk 2019 (Margin-based parallel corpus mining), equation 2:

        margin(x, y) = cos(x, y) / (sum of cos(x, z) over NN(x) + sum of cos(y, z) over NN(y)) * 2k

    NN(x) are the k nearest rows of the other side, and the candidates for x. Each row of either side proposes its
    candidate of the greatest margin, and proposals are accepted from the best down (their `max` strategy).

    Args:
        source, target: (n, dim) and (m, dim).
        neighbours: k.
        min_margin: pairs below it are left out; at 1 a pair is as similar as the neighbours of its rows.
        exact: see `nearest`.
        advance: called with the number of rows, of either side, that were compared since its last call.

    Raises:
        DimensionError: source and target have different dimensions.
        OptionError: neighbours is below 1.
    """
    check_count("neighbours", neighbours)
    forward, right = nearest(source, target, neighbours, exact=exact, advance=advance)
    backward, left = nearest(target, source, neighbours, exact=exact, advance=advance)
    if not forward.size or not backward.size:
        return []
    around_source, around_target = _mean(forward), _mean(backward)
    rows, columns = np.arange(len(source))[:, None], np.arange(len(target))[:, None]
    forward_margin = _margin(forward, around_source[:, None], around_target[right])
    backward_margin = _margin(backward, around_source[left], around_target[:, None])
    best_right, best_left = forward_margin.argmax(axis=1), backward_margin.argmax(axis=1)
    margins = np.concatenate([_pick(forward_margin, best_right), _pick(backward_margin, best_left)])
    cosines = np.concatenate([_pick(forward, best_right), _pick(backward, best_left)])
    lefts = np.concatenate([rows[:, 0], _pick(left, best_left)])
    rights = np.concatenate([_pick(right, best_right), columns[:, 0]])
    return _one_to_one(margins, cosines, lefts, rights, min_margin)


def _mean(scores: FloatArray) -> FloatArray:
    """The mean score of each row's neighbours; those that were not found (-inf) don't count."""
    found = np.isfinite(scores)
    return np.asarray(np.where(found, scores, 0).sum(axis=1) / np.maximum(found.sum(axis=1), 1), dtype=np.float32)


def _margin(cosines: FloatArray, left: FloatArray, right: FloatArray) -> FloatArray:
    margins = cosines / np.maximum((left + right) / 2, _MIN_DENOMINATOR)
    return np.where(np.isfinite(cosines), margins, -np.inf)


def _pick(matrix: NDArray[Any], columns: NDArray[np.int64]) -> NDArray[Any]:
    return np.take_along_axis(matrix, columns[:, None], axis=1)[:, 0]


def _one_to_one(
    margins: NDArray[Any], cosines: NDArray[Any], lefts: NDArray[Any], rights: NDArray[Any], min_margin: float
) -> list[Pair]:
    pairs: list[Pair] = []
    used_left: set[int] = set()
    used_right: set[int] = set()
    for number in np.lexsort((rights, lefts, -margins)):
        margin, left, right = float(margins[number]), int(lefts[number]), int(rights[number])
        if margin < min_margin:
            break
        if left not in used_left and right not in used_right:
            used_left.add(left)
            used_right.add(right)
            pairs.append(Pair(margin, float(cosines[number]), left, right))
    return pairs
