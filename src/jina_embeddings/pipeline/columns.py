"""Vectors in a column of an Arrow table: each belongs to its row, also where other rows have none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..types import FloatArray


def matrix_of(column: Any) -> FloatArray:
    """(rows, dim) of a column of fixed_size_list; NaN where a vector or a number of it is null.

    `flatten` would leave nulls out, and give every row behind one another row's vector.
    """
    import pyarrow as pa

    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    dim = array.type.list_size
    numbers = array.values.slice(array.offset * dim, len(array) * dim).to_numpy(zero_copy_only=False)
    if array.null_count == 0 and array.values.null_count == 0:
        return numbers.reshape(len(array), dim)  # type: ignore[no-any-return]
    matrix = np.array(numbers, dtype=np.float32).reshape(len(array), dim)
    matrix[array.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return matrix


def has_all_numbers(vectors: FloatArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(rows,) whether a vector is one: neither null, NaN nor infinite. vectors: (rows, dim), which may be mapped."""
    good = np.ones(len(vectors), dtype=bool)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        good[start : start + _BLOCK_ROWS] = np.isfinite(vectors[start : start + _BLOCK_ROWS]).all(axis=1)
    return good


_BLOCK_ROWS = 65536
