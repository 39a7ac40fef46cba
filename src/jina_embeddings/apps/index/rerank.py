"""The second stage of a search: passages that the dense vectors found, ranked by their multi-vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...vectors.similarity import maxsim
from .passage import Hit, Passage

if TYPE_CHECKING:
    from ...types import FloatArray, Partial


def by_multivectors(
    query: FloatArray, hits: Sequence[Hit], multivectors: Callable[[list[Passage]], Partial]
) -> list[Hit]:
    """Hits with MaxSim as their score, best first; those that can't be embedded any more come last, with 0.

    query: (tokens, dim). A picture that is no longer where it was can't be embedded.
    """
    if not hits:
        return []
    made = multivectors([hit.passage for hit in hits])
    scores = maxsim(query, list(made.embeddings))
    ranked = [replace(hits[place], score=float(score)) for place, score in zip(made.kept, scores, strict=True)]
    kept = set(made.kept)
    rest = [replace(hit, score=0.0) for place, hit in enumerate(hits) if place not in kept]
    return [*sorted(ranked, key=lambda hit: -hit.score), *rest]
