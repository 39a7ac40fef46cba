"""Ranks the hits of a first stage by their MaxSim scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .passage import Hit


def by_scores(hits: Sequence[Hit], scores: Sequence[float | None]) -> list[Hit]:
    """Returns hits with new scores, best first. Hits without a score come last, in their order, with 0.

    A hit has no score if its multi-vector is not stored and its image can't be read any more.
    """
    scored = [replace(hit, score=score) for hit, score in zip(hits, scores, strict=True) if score is not None]
    rest = [replace(hit, score=0.0) for hit, score in zip(hits, scores, strict=True) if score is None]
    return [*sorted(scored, key=lambda hit: -hit.score), *rest]
