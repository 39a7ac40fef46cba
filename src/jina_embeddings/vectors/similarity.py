"""Scores between embeddings: cosine of dense vectors, MaxSim of multi-vectors. Pure numpy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DimensionError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..types import FloatArray


def similarity(a: FloatArray, b: FloatArray) -> FloatArray:
    """The cosine of every vector of `a` with every vector of `b`.

    Args:
        a: (n, dim) or (dim,); b: (m, dim) or (dim,). They need not be normalised.

    Returns:
        (n, m), from -1 to 1; a single vector on either side drops that axis, so two of them give a 0-d array.

    Raises:
        DimensionError: arrays of other shapes, or of two sizes.
        InputError: packed bits, as `ubinary` gives them: see `hamming`.

    >>> similarity(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([3.0, 0.0]))
    array([1., 0.], dtype=float32)
    """
    if np.uint8 in (np.asarray(a).dtype, np.asarray(b).dtype):
        raise InputError("ubinary vectors are packed bits, which have no cosine: compare them with hamming(a, b)")
    rows, columns = normalize(_rows(np.asarray(a))), normalize(_rows(np.asarray(b)))
    _check_widths(rows, columns)
    # Rounding takes a vector's cosine with itself above 1.
    return _without_axes(np.clip(rows @ columns.T, -1, 1), a, b)


def hamming(a: Any, b: Any) -> NDArray[np.int32]:
    """The number of bits in which every vector of `a` differs from every vector of `b`: small for alike ones.

    Args:
        a: (n, bytes) or (bytes,), of `embedding_type` `binary` (int8) or `ubinary` (uint8). b: the same type.

    Returns:
        int32 (n, m); a single vector on either side drops that axis.

    Raises:
        DimensionError: arrays of other shapes, or of two sizes.
        InputError: other types of numbers.

    >>> hamming(np.array([[0b1010], [0b0000]], dtype=np.uint8), np.array([0b0011], dtype=np.uint8))
    array([2, 2], dtype=int32)
    """
    types = {np.asarray(a).dtype, np.asarray(b).dtype}
    if types not in ({np.dtype(np.int8)}, {np.dtype(np.uint8)}):
        raise InputError(
            f"expected binary (int8) or ubinary (uint8) vectors of one type, not {', '.join(sorted(map(str, types)))}"
        )
    # The 128 that `binary` takes away changes the same bit in all bytes.
    rows, columns = (_rows(np.ascontiguousarray(vectors)).view(np.uint8) for vectors in (a, b))
    _check_widths(rows, columns)
    distances = np.empty((len(rows), len(columns)), dtype=np.int32)
    for row, distance in zip(rows, distances, strict=True):
        _BITS[row ^ columns].sum(axis=1, out=distance)
    return np.asarray(_without_axes(distances, a, b))


_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.int32)
"""The number of bits of each byte."""


def _rows(vectors: NDArray[Any]) -> NDArray[Any]:
    if vectors.ndim not in (1, 2):
        raise DimensionError(f"expected vectors (n, dim) or one (dim,), not an array of shape {vectors.shape}")
    return np.atleast_2d(vectors)


def _check_widths(rows: NDArray[Any], columns: NDArray[Any]) -> None:
    if rows.shape[-1] != columns.shape[-1]:
        raise DimensionError(
            f"vectors of {rows.shape[-1]} and {columns.shape[-1]} numbers can't be compared: use one truncate_dim"
        )


def _without_axes(scores: NDArray[Any], a: Any, b: Any) -> NDArray[Any]:
    if np.ndim(b) == 1:
        scores = scores[:, 0]
    return np.asarray(scores[0] if np.ndim(a) == 1 else scores)


def maxsim(query: FloatArray, documents: FloatArray | Sequence[FloatArray]) -> FloatArray:
    """The late-interaction score of one query with each document.

    score = sum over query tokens of the largest dot product with any document token
    (Khattab and Zaharia 2020, ColBERT, equation 3).

    Args:
        query: (query_tokens, dim), rows normalised.
        documents: a list of (tokens, dim), rows normalised, or an array (n, tokens, dim); or one (tokens, dim).

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
    for name, vectors in (("the query", query), *((f"document {n}", one) for n, one in enumerate(documents))):
        if np.ndim(vectors) != 2:
            raise DimensionError(f"{name} has shape {np.shape(vectors)}: a multi-vector is (tokens, dim)")
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
    blocks = [rows[start : start + _BLOCK_VECTORS] for start in range(0, len(rows), _BLOCK_VECTORS)]
    return _normalized([[block] for block in blocks], rows.shape).reshape(vectors.shape)


def normalize_parts(parts: Sequence[FloatArray]) -> FloatArray:
    """`normalize` of arrays (n, dim), at least one, as if they were joined."""
    blocks = [parts[first : first + _BLOCK_VECTORS] for first in range(0, len(parts), _BLOCK_VECTORS)]
    return _normalized(blocks, (sum(map(len, parts)), parts[0].shape[1]))


def _normalized(blocks: Iterable[Sequence[FloatArray]], shape: tuple[int, int]) -> FloatArray:
    normalized = np.empty(shape, dtype=np.float32)
    # In float64, as squares of very small and very large values under- or overflow in float32; in one piece of memory,
    # as getting it takes longer than the work.
    doubles = np.empty((0, shape[1]))
    start = 0
    for block in blocks:
        out = normalized[start : start + sum(map(len, block))]
        start += len(out)
        if len(doubles) < len(out):
            doubles = np.empty(out.shape)
        rows = np.concatenate(block, out=doubles[: len(out)], casting="same_kind")
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
        np.divide(rows, np.where(norms > 0, norms, 1), out=out, casting="same_kind")
    return normalized


def truncate(vectors: FloatArray, dim: int | None) -> FloatArray:
    """The first `dim` values of each vector (matryoshka), which have to be normalised again; all of them for None."""
    return vectors if dim is None or dim == vectors.shape[-1] else vectors[..., :dim]
