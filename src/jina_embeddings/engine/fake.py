"""The fake engine: deterministic vectors without a model, for testing code that uses embeddings.

A token's vector is pseudo-random, seeded by the token. A text's vector is the mean over its tokens, so texts that share
words are similar; the vectors have no other meaning.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Coroutine, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..checkpoint.fake import CONFIG
from ..errors import EngineClosedError
from ..types import TASKS, Both, Prepared, Span
from ..vectors.similarity import normalize
from .event_loop import run_here

if TYPE_CHECKING:
    from ..types import FloatArray, Vectors

T = TypeVar("T")


class FakeEngine:
    """An `Engine` whose vectors come from hashes of the tokens.

    num_inputs, num_calls: how many inputs and calls it has got so far.
    """

    name = "fake"
    calls_at_once = 1
    chunk_size = 256
    hang_s = 10.0

    def __init__(self, max_length: int | None = None):
        self.max_length = max_length or CONFIG.max_length
        self.num_inputs = 0
        self.num_calls = 0
        self._closed = False

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Vectors]:
        if self._closed:
            raise EngineClosedError("the engine is closed: make a new JinaEmbeddings")
        self.num_calls += 1
        self.num_inputs += len(batch)
        return [self._vectors(prepared) for prepared in batch]

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Vectors]:
        return await asyncio.to_thread(self.run, batch, batch_size=batch_size)

    @property
    def alive(self) -> bool:
        return not self._closed

    def run_async(self, main: Coroutine[Any, Any, T]) -> T:
        return run_here(main)

    def close(self) -> None:
        self._closed = True

    def _vectors(self, prepared: Prepared) -> Vectors:
        offset = TASKS.index(prepared.task)
        tokens = [_token_vector(token, offset) for token in prepared.token_ids.tolist()]
        if prepared.image is not None:
            of_image = _token_vector(zlib.crc32(prepared.image.digest.encode()), offset)
            tokens = [token + of_image for token in tokens]
        if not prepared.multivector:
            return _means(tokens, prepared.spans)
        projected = normalize(np.array(tokens)[:, : CONFIG.multivector_dim])
        return Both(_means(tokens, prepared.spans), projected) if prepared.spans else projected


def _means(tokens: Sequence[FloatArray], spans: Sequence[Span]) -> FloatArray:
    means = np.zeros((len(spans), CONFIG.hidden_size), dtype=np.float32)
    for mean, (start, stop) in zip(means, spans, strict=True):
        for token in tokens[start:stop]:
            mean += token
        mean /= np.float32(stop - start)
    return means


@lru_cache(maxsize=4096)
def _token_vector(token: int, offset: int) -> FloatArray:
    return np.random.default_rng([token, offset]).standard_normal(CONFIG.hidden_size, dtype=np.float32)
