"""Nearest neighbours by cosine: an exact search if that is fast enough, else faiss's inverted lists.

Vectors are float32 (n, dim), in memory or memory-mapped. The functions copy a block of them at a time; an approximate
index has a float16 copy of all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ...errors import DependencyError, DimensionError, OptionError
from ...vectors.similarity import normalize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...types import FloatArray

Advance: TypeAlias = "Callable[[int], object] | None"
"""Is called with the number of rows that were compared since its last call."""

EXACT_PRODUCTS = 1e12
"""An exact search is used up to this many multiplications, which take half a minute on two cores."""

BLOCK = 2048
"""Rows that are normalised and searched at a time."""

PROBES = 32
"""Inverted lists that are searched for each query."""

_TRAINING_VECTORS_PER_LIST = 48
_MAX_LISTS = 4096
_SEED = 0


def load_faiss() -> Any:
    """The module faiss. Raises DependencyError if it is not installed."""
    try:
        import faiss
    except ImportError:
        raise DependencyError(
            "text matching looks neighbours up with faiss: pip install 'jina-embeddings-vllm[apps]'"
        ) from None
    return faiss


def check_vectors(vectors: FloatArray) -> tuple[int, int]:
    """(n, dim) of a matrix; raises DimensionError for anything else."""
    if np.ndim(vectors) != 2 or vectors.shape[1] == 0:
        raise DimensionError(f"expected vectors as (n, dim), not an array of shape {np.shape(vectors)}")
    return int(vectors.shape[0]), int(vectors.shape[1])


def check_count(name: str, value: int) -> None:
    """Raises OptionError unless the value is a whole number above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise OptionError(f"{name} must be a whole number above 0, not {value!r}")


def is_small(num_queries: int, num_vectors: int, dim: int) -> bool:
    """Whether an exact search takes at most `EXACT_PRODUCTS` multiplications."""
    return num_queries * num_vectors * dim <= EXACT_PRODUCTS


def blocks(vectors: FloatArray, size: int = BLOCK, *, advance: Advance = None) -> Iterator[tuple[int, FloatArray]]:
    """Yields the vectors in blocks: (index of the first row, normalised rows). `advance` is called after each."""
    for start in range(0, len(vectors), size):
        block = np.ascontiguousarray(normalize(np.asarray(vectors[start : start + size])))
        yield start, block
        if advance is not None:
            advance(len(block))


def nearest(
    queries: FloatArray,
    vectors: FloatArray,
    count: int,
    *,
    exact: bool | None = None,
    probes: int = PROBES,
    advance: Advance = None,
) -> tuple[FloatArray, NDArray[np.int64]]:
    """The `count` nearest vectors of each query.

    Args:
        exact: None chooses by size, see `is_small`.

    Returns:
        Cosines and row numbers, both (len(queries), count), nearest first; fewer columns if there are fewer vectors.
        An approximate search may find fewer neighbours: missing ones have row -1 and cosine -inf.
    """
    num_queries, dim = check_vectors(queries)
    num_vectors, other = check_vectors(vectors)
    if dim != other:
        raise DimensionError(f"vectors of {dim} and {other} numbers can't be compared: use one truncate_dim")
    check_count("count", count)
    count = min(count, num_vectors)
    scores = np.zeros((num_queries, count), dtype=np.float32)
    rows = np.zeros((num_queries, count), dtype=np.int64)
    if not count or not num_queries:
        return scores, rows
    if exact is None:
        exact = is_small(num_queries, num_vectors, dim)
    index = _ExactIndex(vectors) if exact else approximate_index(vectors, probes=probes, filled=True)
    for start, block in blocks(queries, advance=advance):
        found, numbers = index.search(block, count)
        scores[start : start + len(block)] = np.where(numbers < 0, -np.inf, found)
        rows[start : start + len(block)] = numbers
    return scores, rows


def approximate_index(vectors: FloatArray, *, probes: int = PROBES, filled: bool) -> Any:
    """A faiss index of inverted lists in float16, trained on a sample of the vectors.

    filled: whether all vectors are added to it.
    """
    faiss = load_faiss()
    num_vectors, dim = check_vectors(vectors)
    num_lists = min(_MAX_LISTS, 2 ** round(math.log2(4 * math.sqrt(num_vectors))), max(1, num_vectors // 4))
    quantizer = faiss.IndexFlatIP(dim)
    index = faiss.IndexIVFScalarQuantizer(
        quantizer, dim, num_lists, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False
    )
    index.cp.niter, index.cp.spherical, index.cp.seed = 8, True, _SEED
    index.cp.min_points_per_centroid = 1
    size = min(num_vectors, _TRAINING_VECTORS_PER_LIST * num_lists)
    sample = np.sort(np.random.default_rng(_SEED).choice(num_vectors, size, replace=False))
    index.train(np.ascontiguousarray(normalize(vectors[sample])))
    index.nprobe = min(probes, num_lists)
    if filled:
        for _, block in blocks(vectors, 16 * BLOCK):
            index.add(block)
    return index


class _ExactIndex:
    """Exact search, which copies a block of the vectors at a time."""

    def __init__(self, vectors: FloatArray):
        self._vectors = vectors
        self._faiss = load_faiss()

    def search(self, queries: FloatArray, count: int) -> tuple[FloatArray, NDArray[np.int64]]:
        keeper = self._faiss.ResultHeap(len(queries), count, keep_max=True)
        for start, block in blocks(self._vectors, 16 * BLOCK):
            products, rows = self._faiss.knn(
                queries, block, min(count, len(block)), metric=self._faiss.METRIC_INNER_PRODUCT
            )
            keeper.add_result(products, rows + start)
        keeper.finalize()
        return keeper.D, keeper.I
