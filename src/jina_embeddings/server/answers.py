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
        # JSON already: base64 has nothing to escape.
        return [orjson.Fragment(b'"%s"' % pybase64.b64encode(row)) for row in rows]
    return list(np.ascontiguousarray(quantize(vectors, form)))


async def embeddings_json(
    vectors: Any, forms: Sequence[EmbeddingType], model: str, usage: Usage, *, multivector: bool
) -> bytes:
    """The body of `/v1/embeddings`. vectors: float32 (n, dim), or of each input (tokens, dim).

    Several forms are given under their names. What takes long is made in a thread.
    """
    rows = sum(map(len, vectors)) if multivector else len(vectors)

    def answer(data: Sequence[Any]) -> bytes:
        return to_json({"object": "list", "model": model, "data": data, "usage": usage_of(usage)})

    if rows * len(forms) <= _INLINE_ROWS:
        return answer(_entries(vectors, forms, multivector))

    def in_pieces() -> bytes:
        # One call holds Python's lock from its beginning to its end.
        return answer([orjson.Fragment(to_json(entry)) for entry in _entries(vectors, forms, multivector)])

    return await asyncio.to_thread(in_pieces)


def _entries(vectors: Any, forms: Sequence[EmbeddingType], multivector: bool) -> list[dict[str, Any]]:
    if multivector:
        made = [[list(rows_in(form, matrix)) for matrix in vectors] for form in forms]
        kind, field = "embeddings", "embeddings"
    else:
        made = [list(rows_in(form, vectors)) for form in forms]
        kind, field = "embedding", "embedding"
    columns = made[0] if len(forms) == 1 else [dict(zip(forms, row, strict=True)) for row in zip(*made, strict=True)]
    return [{"object": kind, "index": index, field: value} for index, value in enumerate(columns)]


def usage_of(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.num_tokens,
        "total_tokens": usage.num_tokens,
        "image_tokens": usage.num_image_tokens,
    }
