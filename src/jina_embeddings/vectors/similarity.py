"""Scores between embeddings: cosine of dense vectors, MaxSim of multi-vectors. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DimensionError

if TYPE_CHECKING:
    from ..types import FloatArray


def similarity(a: FloatArray, b: FloatArray) -> FloatArray:
    """The cosine of every vector of `a` with every vector of `b`.

    Args:
        a: (n, dim) or (dim,); b: (m, dim) or (dim,). They need not be normalised.

    Returns:
        (n, m); a single vector on either side drops that axis, so two of them give a 0-d array.

    >>> similarity(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([3.0, 0.0]))
    array([1., 0.], dtype=float32)
    """
    rows, columns = np.atleast_2d(normalize(a)), np.atleast_2d(normalize(b))
    if rows.shape[-1] != columns.shape[-1]:
        raise DimensionError(
            f"vectors of {rows.shape[-1]} and {columns.shape[-1]} numbers can't be compared: use one truncate_dim"
        )
    scores = rows @ columns.T
    if np.ndim(b) == 1:
        scores = scores[:, 0]
    if np.ndim(a) == 1:
        scores = scores[0]
    return np.asarray(scores)


def maxsim(query: FloatArray, documents: FloatArray | Sequence[FloatArray]) -> FloatArray:
    """The late-interaction score of one query with each document.

    score = sum over query tokens of the largest dot product with any document token
    (Khattab and Zaharia 2020, ColBERT, equation 3).

    Args:
        query: (query_tokens, dim), rows normalised.
        documents: a list of (tokens, dim), rows normalised; or one such array.

    Returns:
        (len(documents),) float32; a 0-d array for one document.

    >>> maxsim(np.eye(2), [np.eye(2), np.array([[1.0, 0.0]])])
    array([2., 1.], dtype=float32)
    """
    if isinstance(documents, np.ndarray) and documents.ndim == 2:
        return np.asarray(maxsim(query, [documents])[0])
    if not len(documents):
        return np.zeros(0, dtype=np.float32)
    query = np.asarray(query, dtype=np.float32)
    widths = {document.shape[-1] for document in documents} | {query.shape[-1]}
    if len(widths) != 1:
        raise DimensionError(f"multi-vectors of different sizes can't be compared: {sorted(widths)}")
    lengths = np.array([len(document) for document in documents])
    if not lengths.all():
        raise DimensionError(f"document {int(np.argmin(lengths))} has no token vectors")
    products = np.concatenate(list(documents)).astype(np.float32, copy=False) @ query.T
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return np.asarray(np.maximum.reduceat(products, starts, axis=0).sum(axis=1), dtype=np.float32)


# Vectors that `normalize` handles at a time, so that their float64 copies fit into the processor's cache.
_BLOCK_VECTORS = 32


def normalize(vectors: FloatArray) -> FloatArray:
    """Each vector (last axis) divided by its L2 norm, float32; a zero vector stays zero."""
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.size == 0:
        return vectors
    rows = vectors.reshape(-1, vectors.shape[-1])
    normalized = np.empty_like(rows)
    for start in range(0, len(rows), _BLOCK_VECTORS):
        # In float64, as squares of very small and very large values under- or overflow in float32.
        block = rows[start : start + _BLOCK_VECTORS].astype(np.float64)
        norms = np.sqrt(np.einsum("ij,ij->i", block, block))[:, None]
        np.divide(
            block, np.where(norms > 0, norms, 1), out=normalized[start : start + _BLOCK_VECTORS], casting="same_kind"
        )
    return normalized.reshape(vectors.shape)


def truncate(vectors: FloatArray, dim: int | None) -> FloatArray:
    """The first `dim` values of each vector (matryoshka), which have to be normalised again; all of them for None."""
    return vectors if dim is None else vectors[..., :dim]
