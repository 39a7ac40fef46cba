"""The fake engine: deterministic vectors without a model, for testing code that uses embeddings.

A token's vector is pseudo-random, seeded by the token. A text's vector is the mean over its tokens, so texts that share
words are similar; the vectors have no other meaning.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Coroutine, Iterator, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..checkpoint.fake import CONFIG
from ..errors import EngineClosedError
from ..fill import Fill
from ..types import TASKS, Both, Prepared, Task
from ..vectors.similarity import normalize
from .event_loop import run_here
from .token_vectors import TokenVectors

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
        self.pack_fill = Fill()
        self._closed = False

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Vectors]:
        if self._closed:
            raise EngineClosedError("the engine is closed: make a new JinaEmbeddings")
        self.num_calls += 1
        self.num_inputs += len(batch)
        plain = [_is_plain(prepared) for prepared in batch]
        means = _means([_tokens(prepared) for prepared in compress(batch, plain)])
        return [
            next(means) if is_plain else _vectors(prepared) for prepared, is_plain in zip(batch, plain, strict=True)
        ]

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


def _vectors(prepared: Prepared) -> Vectors:
    vectors = _TOKENS.take(_tokens(prepared))
    if prepared.image is not None:
        vectors += _TOKENS.take([_seeded(zlib.crc32(prepared.image.digest.encode()), prepared.task)])
    projected: Any = None
    if prepared.multivector:
        projected = normalize(vectors[:, : CONFIG.multivector_dim])
        if not prepared.spans:
            return projected  # type: ignore[no-any-return]
    means = np.zeros((len(prepared.spans), CONFIG.hidden_size), dtype=np.float32)
    for mean, (start, stop) in zip(means, prepared.spans, strict=True):
        for vector in vectors[start:stop]:
            mean += vector
        mean /= np.float32(stop - start)
    return Both(means, projected) if prepared.multivector else means


def _means(texts: Sequence[Sequence[int]]) -> Iterator[FloatArray]:
    """The mean of each text's token vectors, (1, hidden size). texts: their tokens."""
    means = np.zeros((len(texts), CONFIG.hidden_size), dtype=np.float32)
    added = np.empty((_BLOCK_TEXTS, CONFIG.hidden_size), dtype=np.float32)
    for first in range(0, len(texts), _BLOCK_TEXTS):
        block, sums = texts[first : first + _BLOCK_TEXTS], means[first : first + _BLOCK_TEXTS]
        lengths = np.array([len(tokens) for tokens in block])
        for place in range(lengths.max()):
            tokens = [tokens[place] for tokens in block if len(tokens) > place]
            if len(tokens) < len(block):
                sums[lengths > place] += _TOKENS.take(tokens, added[: len(tokens)])
            elif place == 0:
                _TOKENS.take(tokens, sums)
            else:
                sums += _TOKENS.take(tokens, added[: len(tokens)])
        sums /= lengths[:, None].astype(np.float32)
    return (means[number : number + 1] for number in range(len(texts)))


_BLOCK_TEXTS = 32
"""Texts whose vectors are added together: few enough for the processor's cache."""


def _is_plain(prepared: Prepared) -> bool:
    """Whether it is a text with one dense vector over all of its tokens."""
    return prepared.image is None and not prepared.multivector and prepared.spans == ((0, prepared.num_tokens),)


def _tokens(prepared: Prepared) -> list[int]:
    seeded = _seeded(0, prepared.task)
    return [seeded | token for token in prepared.token_ids.tolist()]


def _seeded(number: int, task: Task) -> int:
    """A token is another one in each task."""
    return TASKS.index(task) << 32 | number


_TOKENS = TokenVectors(CONFIG.hidden_size)
