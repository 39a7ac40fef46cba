"""Vectors as JSON: floats straight from numpy, base64 from their bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pybase64
from starlette.responses import Response

from ..types import EmbeddingType, Usage
from ..vectors.quantization import quantize

# The most vectors whose JSON is made in the event loop; it takes about ten milliseconds.
_INLINE_ROWS = 64


class Json(Response):
    """A response whose body is JSON. Made in half the time of Starlette's, since each request needs one."""

    def __init__(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None):
        self.status_code, self.body, self.background = status, body, None
        self.raw_headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        if headers:
            self.raw_headers += [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def to_json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def rows_in(form: EmbeddingType, vectors: Any) -> Iterable[Any]:
    """Each row of float32 vectors (n, dim) in a form that `to_json` takes."""
    if form == "base64":
        rows = np.ascontiguousarray(vectors, dtype="<f4")
        # Base64 has nothing to escape, so it is JSON already.
        return [orjson.Fragment(b'"%s"' % pybase64.b64encode(row)) for row in rows]
    return list(np.ascontiguousarray(quantize(vectors, form)))


async def embeddings_json(
    vectors: Any, forms: Sequence[EmbeddingType], model: str, usage: Usage, *, multivector: bool
) -> bytes:
    """The body of the answer of `/v1/embeddings`; with several forms, each vector is an object with their names.

    The JSON of many vectors is made in a thread. vectors: float32 (n, dim), or one (tokens, dim) for each input.
    """
    rows = sum(map(len, vectors)) if multivector else len(vectors)

    def answer(data: Sequence[Any]) -> bytes:
        return to_json({"object": "list", "model": model, "data": data, "usage": usage_of(usage)})

    if rows * len(forms) <= _INLINE_ROWS:
        return answer(_entries(vectors, forms, multivector))

    def in_pieces() -> bytes:
        # One call of orjson holds Python's lock until it is done, so each vector has a call of its own.
        return answer([orjson.Fragment(to_json(entry)) for entry in _entries(vectors, forms, multivector)])

    return await asyncio.to_thread(in_pieces)


async def by_form_json(vectors: Any, forms: Sequence[EmbeddingType]) -> orjson.Fragment:
    """The JSON of an object with the rows of float32 vectors (n, dim) in each form, as Cohere has it.

    That of many vectors is made in a thread.
    """

    def in_pieces() -> orjson.Fragment:
        made = {form: [orjson.Fragment(to_json(row)) for row in rows_in(form, vectors)] for form in forms}
        return orjson.Fragment(to_json(made))

    return in_pieces() if len(vectors) * len(forms) <= _INLINE_ROWS else await asyncio.to_thread(in_pieces)


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
