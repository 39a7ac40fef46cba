"""Stores multi-vectors in a column of the table: a list of token vectors for each row, in one of three number formats.

| format | bytes for a token of 128 numbers | MaxSim is computed with |
|---|---|---|
| float16 | 256 | the vectors, to three digits |
| int8 | 128 | the quantised vectors, normalised |
| binary | 16 | the signs of the numbers; the question is not quantised |

Decoding and encoding a stored multi-vector gives the same bytes, so vectors can be reused for other rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pyarrow as pa

from ...errors import OptionError, suggest
from ...types import MultivectorFormat
from ...vectors.quantization import quantize
from ...vectors.similarity import normalize

if TYPE_CHECKING:
    from ...types import FloatArray

FORMATS: tuple[str, ...] = get_args(MultivectorFormat)
COLUMN = "multivector"

_NUMBERS = {"float16": pa.float16(), "int8": pa.int8(), "binary": pa.uint8()}
# float32 is not stored; bulk runs have it, and it is decoded as float16 is.
_FORMATS = {**{number: name for name, number in _NUMBERS.items()}, pa.float32(): "float16"}
_BLOCK_TOKENS = 128
_BLOCK_PRODUCTS = 1 << 18
"""The most tokens, and multiplications, of one block in `score`: OpenBLAS and torch run so few in the thread that asks.

With more, each block waits for threads of both, which spin: 5 ms became 80 on two cores, and 240 on two busy ones.
"""
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.float32) * 2 - 1
"""The 8 signs of each byte, -1 or 1."""


def check_format(name: str) -> None:
    """Raises OptionError for an unknown number format."""
    if name not in FORMATS:
        raise OptionError(f"unknown format {name!r} of multi-vectors{suggest(name, FORMATS)}")


def bytes_per_token(number_format: str, dim: int) -> int:
    return {"float16": 2 * dim, "int8": dim, "binary": dim // 8}[number_format]


def column_type(number_format: str, dim: int) -> pa.DataType:
    """Returns list<fixed_size_list<number>> for vectors of `dim` numbers; binary stores 8 of them in a byte."""
    return pa.list_(pa.list_(_NUMBERS[number_format], dim // 8 if number_format == "binary" else dim))


def to_column(multivectors: Sequence[FloatArray], number_format: str) -> pa.ListArray:
    """Encodes arrays (tokens, dim) with normalised rows as an Arrow column."""
    tokens = np.concatenate(list(multivectors))
    if number_format == "float16":
        numbers: Any = tokens.astype(np.float16)
    else:
        numbers = quantize(tokens, "ubinary" if number_format == "binary" else "int8")
    offsets = np.cumsum([0, *map(len, multivectors)], dtype=np.int32)
    kind = column_type(number_format, tokens.shape[1])
    values = pa.FixedSizeListArray.from_arrays(
        pa.array(numbers.ravel(), _NUMBERS[number_format]), kind.value_type.list_size
    )
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def from_column(column: Any) -> list[FloatArray]:
    """Decodes a column: returns a float32 array (tokens, dim) with normalised rows for each row."""
    numbers, offsets, number_format = _numbers(column)
    rows = _decoded(numbers, number_format)
    if number_format != "float16":
        rows = normalize(rows)
    return [rows[start:stop] for start, stop in pairwise(offsets)]


def from_lists(column: Any, dim: int) -> list[FloatArray]:
    """Decodes a column of list<list<number>>, whose number type says the format (uint8 is binary), as `from_column`."""
    number = column.type.value_type.value_type
    width = dim // 8 if number == pa.uint8() else dim
    return from_column(column.cast(pa.list_(pa.list_(number, width))))


def stored(column: Any) -> list[Any]:
    """Returns the stored numbers of each row without decoding them, (tokens, width)."""
    numbers, offsets, _ = _numbers(column)
    return [numbers[start:stop] for start, stop in pairwise(offsets)]


def score(query: FloatArray, column: Any) -> FloatArray:
    """Computes MaxSim of a question and every row: float32 (rows,), 0 for a row without tokens.

    query: (tokens, dim), rows normalised. It is not quantised.
    """
    numbers, offsets, number_format = _numbers(column)
    scores = np.zeros(len(offsets) - 1, dtype=np.float32)
    filled = np.flatnonzero(np.diff(offsets))
    if not len(filled):
        return scores
    block_tokens = max(1, min(_BLOCK_TOKENS, _BLOCK_PRODUCTS // max(1, query.size)))
    query = np.ascontiguousarray(query.T, dtype=np.float32)
    products = np.empty((len(numbers), query.shape[1]), dtype=np.float32)
    squares = np.empty((len(numbers), 1), dtype=np.float32)
    for start in range(0, len(numbers), block_tokens):
        stop = start + block_tokens
        block = _decoded(numbers[start:stop], number_format)
        np.matmul(block, query, out=products[start:stop])
        if number_format != "float16":
            np.einsum("ij,ij->i", block, block, out=squares[start:stop, 0])
    if number_format != "float16":
        products /= np.maximum(np.sqrt(squares), 1e-9)
    scores[filled] = np.maximum.reduceat(products, offsets[:-1][filled], axis=0).sum(axis=1)
    return scores


def _numbers(column: Any) -> tuple[Any, Any, str]:
    """Returns the stored numbers (tokens, width) of all rows, the offsets of the rows, and the format."""
    rows = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    offsets = rows.offsets.to_numpy()
    tokens = rows.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    width = rows.type.value_type.list_size
    numbers = tokens.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    number_format = _FORMATS[rows.type.value_type.value_type]
    return numbers, offsets - offsets[0], number_format


def _decoded(numbers: Any, number_format: str) -> FloatArray:
    """Returns float32 (tokens, dim), which is not normalised for int8 and binary."""
    if number_format == "binary":
        return np.asarray(_BITS.take(numbers, axis=0), dtype=np.float32).reshape(len(numbers), -1)
    if numbers.dtype == np.float16:
        # NumPy takes several times as long. Imported late, as other uses of an index don't need it.
        import torch

        # Torch warns of memory that can't be written.
        floats: FloatArray = torch.from_numpy(np.require(numbers, requirements="W")).float().numpy()
        return floats
    return np.asarray(numbers, dtype=np.float32)
