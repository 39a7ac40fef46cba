"""Scores between embeddings: cosine of dense vectors, MaxSim of multi-vectors. Pure numpy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
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
    return normalize_parts(blocks).reshape(vectors.shape)


def normalize_parts(parts: Sequence[FloatArray]) -> FloatArray:
    """`normalize` of arrays (n, dim), at least one, as if they were joined."""
    if len(parts) == 1 and len(parts[0]) <= _BLOCK_VECTORS:
        return _divided(parts[0].astype(np.float64))
    normalized = np.empty((sum(map(len, parts)), parts[0].shape[1]), dtype=np.float32)
    # In one piece of memory: getting it takes longer than the work.
    doubles = np.empty((_BLOCK_VECTORS, parts[0].shape[1]))
    start = 0
    for block in _blocks(parts):
        stop = start + sum(map(len, block))
        if stop - start > len(doubles):
            doubles = np.empty((stop - start, doubles.shape[1]))
        rows = np.concatenate(block, out=doubles[: stop - start], casting="same_kind")
        _divided(rows, normalized[start:stop])
        start = stop
    return normalized


def normalize_if_finite(parts: Sequence[FloatArray]) -> FloatArray | None:
    """`normalize_parts`, to the same bits; None if there is NaN or infinity."""
    if len(parts) == 1 and len(parts[0]) == 1:
        # One vector alone, as small calls have it, in half the time.
        row = parts[0].astype(np.float64)
        (square,) = np.einsum("ij,ij->i", row, row).tolist()
        if not math.isfinite(square):
            return None
        row /= math.sqrt(square) or 1.0
        return row.astype(np.float32)
    # Where a number is infinite, its normalised vector has NaN.
    with np.errstate(invalid="ignore"):
        normalized = normalize_parts(parts)
    return normalized if math.isfinite(np.vdot(normalized, normalized)) else None


def _blocks(parts: Sequence[FloatArray]) -> Iterator[Sequence[FloatArray]]:
    """Parts that have `_BLOCK_VECTORS` rows together, or a little more."""
    first = num_rows = 0
    for number, part in enumerate(parts, 1):
        num_rows += len(part)
        if num_rows >= _BLOCK_VECTORS or number == len(parts):
            yield parts[first:number]
            first, num_rows = number, 0


def _divided(rows: NDArray[np.float64], out: FloatArray | None = None) -> FloatArray:
    """Rows by their norms; in float64, as squares of very small and very large values under- or overflow in float32."""
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    norms[~(norms > 0)] = 1
    if out is None:
        out = np.empty(rows.shape, dtype=np.float32)
    np.divide(rows, norms[:, None], out=out, casting="same_kind")
    return out


def truncate(vectors: FloatArray, dim: int | None) -> FloatArray:
    """The first `dim` values of each vector (matryoshka), which have to be normalised again; all of them for None."""
    return vectors if dim is None or dim == vectors.shape[-1] else vectors[..., :dim]
