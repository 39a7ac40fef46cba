"""Vectors as JSON: floats straight from numpy, base64 from their bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import orjson
import pybase64

from ..types import EmbeddingType, Usage
from ..vectors.quantization import quantize

JSON_TYPE = "application/json"

# Vectors whose JSON is made in the event loop: about ten milliseconds as floats.
_INLINE_ROWS = 64


def to_json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def rows_in(form: EmbeddingType, vectors: Any) -> Iterable[Any]:
    """Each row of float32 vectors (n, dim) in a form that `to_json` takes."""
    if form == "base64":
        rows = np.ascontiguousarray(vectors, dtype="<f4")
        return [pybase64.b64encode(row).decode() for row in rows]
    return list(np.ascontiguousarray(quantize(vectors, form)))


async def embeddings_json(
    vectors: Any, forms: Sequence[EmbeddingType], model: str, usage: Usage, *, multivector: bool
) -> bytes:
    """The body of `/v1/embeddings`. vectors: float32 (n, dim), or of each input (tokens, dim).

    Several forms are given under their names. What takes long is made in a thread.
    """
    rows = sum(map(len, vectors)) if multivector else len(vectors)
    arguments = vectors, forms, model, usage, multivector
    if rows * len(forms) <= _INLINE_ROWS:
        return _embeddings_json(*arguments)
    return await asyncio.to_thread(_embeddings_json, *arguments)


def _embeddings_json(
    vectors: Any, forms: Sequence[EmbeddingType], model: str, usage: Usage, multivector: bool
) -> bytes:
    if multivector:
        made = [[list(rows_in(form, matrix)) for matrix in vectors] for form in forms]
        kind, field = "embeddings", "embeddings"
    else:
        made = [list(rows_in(form, vectors)) for form in forms]
        kind, field = "embedding", "embedding"
    columns = made[0] if len(forms) == 1 else [dict(zip(forms, row, strict=True)) for row in zip(*made, strict=True)]
    # Each by itself, since one call holds Python's lock from its beginning to its end.
    data = [
        orjson.Fragment(to_json({"object": kind, "index": index, field: value})) for index, value in enumerate(columns)
    ]
    return to_json({"object": "list", "model": model, "data": data, "usage": usage_of(usage)})


def usage_of(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.num_tokens,
        "total_tokens": usage.num_tokens,
        "image_tokens": usage.num_image_tokens,
    }
