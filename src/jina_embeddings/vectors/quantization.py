"""Quantisation of normalised vectors, and base64, by the names of the hosted API. Pure numpy.

| embedding_type | result for (n, dim) | compare by |
|---|---|---|
| float | float32 (n, dim) | dot product |
| int8 | int8 (n, dim) | cosine (each vector has its own scale) |
| binary | int8 (n, dim / 8), bits packed, minus 128 | Hamming distance |
| ubinary | uint8 (n, dim / 8), bits packed | Hamming distance |
| base64 | n strings: float32, little-endian | after decoding, dot product |
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from ..errors import DimensionError, OptionError, suggest
from ..types import EmbeddingType

if TYPE_CHECKING:
    from ..types import FloatArray

EMBEDDING_TYPES: tuple[str, ...] = get_args(EmbeddingType)


def check_embedding_type(name: str) -> None:
    """Raises OptionError for a name that is not in the table at the top of this file."""
    if name not in EMBEDDING_TYPES:
        raise OptionError(f"unknown embedding_type {name!r}{suggest(name, EMBEDDING_TYPES)}")


def quantize(vectors: FloatArray, embedding_type: str = "float") -> Any:
    """Converts vectors (..., dim) to an embedding type; see the table at the top of this file.

    int8 is `round(127 x / max|x|)` with the maximum of each vector; its cosine to the original stays above 0.999
    without calibration data. A bit of a binary vector is 1 where the value is above 0.

    >>> quantize(np.array([0.6, -0.8], dtype=np.float32), "int8")
    array([  95, -127], dtype=int8)
    """
    check_embedding_type(embedding_type)
    if embedding_type == "float":
        return vectors
    if embedding_type == "int8":
        largest = np.abs(vectors).max(axis=-1, keepdims=True, initial=0)
        return np.rint(vectors / np.where(largest > 0, largest, 1) * 127).astype(np.int8)
    if embedding_type == "base64":
        if vectors.ndim == 1:
            return base64.b64encode(vectors.astype("<f4").tobytes()).decode()
        return [quantize(vector, "base64") for vector in vectors]
    if vectors.shape[-1] % 8:
        raise DimensionError(
            f"{embedding_type} packs 8 numbers into a byte: {vectors.shape[-1]} is not a multiple of 8"
        )
    packed = np.packbits(vectors > 0, axis=-1)
    if embedding_type == "ubinary":
        return packed
    return (packed.astype(np.int16) - 128).astype(np.int8)


def from_base64(text: str) -> FloatArray:
    """The float32 vector of a base64 string, with or without its padding."""
    return np.frombuffer(base64.b64decode(text + "=" * (-len(text) % 4)), dtype="<f4")
