"""Token pooling: reduces the token vectors of a document by merging those that are most similar.

Clavié, Chaffin and Adams 2024, "Reducing the Footprint of Multi-Vector Retrieval with Minimal Performance Impact via
Token Pooling": hierarchical clustering by Ward's method, and each cluster's mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import DependencyError, OptionError
from .similarity import normalize

if TYPE_CHECKING:
    from ..types import FloatArray


def pool_tokens(vectors: FloatArray, factor: int) -> FloatArray:
    """Clusters the token vectors and returns the normalised mean of each cluster.

    Args:
        vectors: (tokens, dim), rows normalised.
        factor: tokens for each cluster on average; 1 doesn't merge any, 2 to 4 are usual.

    Returns:
        float32 (ceil(tokens / factor), dim), in the order of each cluster's first token; fewer if tokens are equal.

    Raises:
        OptionError: a factor below 1. DependencyError: SciPy is missing.

    >>> pool_tokens(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]), 2)
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    if factor < 1:
        raise OptionError(f"token pooling by {factor}: choose 1 (none) or more")
    wanted = -(-len(vectors) // factor)
    if wanted == len(vectors):
        return normalize(vectors)
    try:
        from scipy.cluster.hierarchy import fcluster, linkage
    except ImportError:
        raise DependencyError("token pooling needs SciPy: pip install 'jina-embeddings-vllm[apps]'") from None

    labels = fcluster(linkage(vectors, "ward"), wanted, criterion="maxclust")
    _, firsts, clusters = np.unique(labels, return_index=True, return_inverse=True)
    sums = np.zeros((len(firsts), vectors.shape[1]), dtype=np.float64)
    np.add.at(sums, clusters, vectors)
    return normalize(sums[np.argsort(firsts)].astype(np.float32))
