"""Measures the recall of the approximate index against exact search, with passages of the index as questions."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ...errors import OptionError
from .store import Store


@dataclass(frozen=True, slots=True)
class Recall:
    """A measurement.

    recall: the share of the `depth` best passages by exact search that the usual search finds, over `questions`
        searches; 1 without an approximate index.
    approximate_ms, exact_ms: the median duration of a search.
    """

    recall: float
    questions: int
    depth: int
    approximate_ms: float
    exact_ms: float


def measure(store: Store, *, questions: int = 100, depth: int = 10, seed: int = 0) -> Recall:
    """Searches with the vectors of random passages; the passage itself doesn't count as a result.

    Raises OptionError for an index of fewer than two passages.
    """
    if len(store) < 2:
        raise OptionError(f"{store.address} has {len(store)} passages: recall needs two or more")
    depth = min(depth, len(store) - 1)
    found: list[float] = []
    times: dict[bool, list[float]] = {False: [], True: []}
    for name, vector in store.sample(questions, seed):
        ids: dict[bool, list[str]] = {}
        for exact in times:
            began = time.perf_counter()
            hits = store.search(vector, depth + 1, exact=exact)
            times[exact].append(time.perf_counter() - began)
            ids[exact] = [hit.id for hit in hits if hit.id != name][:depth]
        found.append(len(set(ids[False]).intersection(ids[True])) / depth)
    return Recall(
        round(float(np.mean(found)), 4),
        len(found),
        depth,
        approximate_ms=round(1e3 * float(np.median(times[False])), 2),
        exact_ms=round(1e3 * float(np.median(times[True])), 2),
    )
