"""The second stage of a search: passages that the first one found, ranked by MaxSim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .passage import Hit


def by_scores(hits: Sequence[Hit], scores: Sequence[float | None]) -> list[Hit]:
    """Hits with these scores, best first; those without one come last, in their order, with 0.

    A picture that is no longer where it was has none, unless its multi-vector is stored.
    """
    scored = [replace(hit, score=score) for hit, score in zip(hits, scores, strict=True) if score is not None]
    rest = [replace(hit, score=0.0) for hit, score in zip(hits, scores, strict=True) if score is None]
    return [*sorted(scored, key=lambda hit: -hit.score), *rest]
