"""The fake engine: deterministic vectors without a model, for testing code that uses embeddings.

A token's vector is pseudo-random, seeded by the token. A text's vector is the mean over its tokens, so texts that share
words are similar; the vectors have no other meaning.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Coroutine, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..checkpoint.fake import CONFIG
from ..errors import EngineClosedError
from ..types import TASKS, Both, Prepared
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
        means = _means([_tokens(prepared) for prepared in batch if _is_plain(prepared)])
        return [next(means) if _is_plain(prepared) else _vectors(prepared) for prepared in batch]

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
    tokens = _tokens(prepared)
    if prepared.image is not None:
        of_image = _token_vector(zlib.crc32(prepared.image.digest.encode()), TASKS.index(prepared.task))
        tokens = [token + of_image for token in tokens]
    projected: Any = None
    if prepared.multivector:
        projected = normalize(np.array(tokens)[:, : CONFIG.multivector_dim])
        if not prepared.spans:
            return projected  # type: ignore[no-any-return]
    dense = np.concatenate(list(_means([tokens[start:stop] for start, stop in prepared.spans])))
    return Both(dense, projected) if prepared.multivector else dense


def _tokens(prepared: Prepared) -> list[FloatArray]:
    offset = TASKS.index(prepared.task)
    return [_token_vector(token, offset) for token in prepared.token_ids.tolist()]


def _is_plain(prepared: Prepared) -> bool:
    """Whether it is a text with one dense vector over all of its tokens."""
    return prepared.image is None and not prepared.multivector and prepared.spans == ((0, prepared.num_tokens),)


def _means(inputs: Sequence[Sequence[FloatArray]]) -> Iterator[FloatArray]:
    """The mean of each input's token vectors, (1, hidden size)."""
    means = np.empty((len(inputs), CONFIG.hidden_size), dtype=np.float32)
    added = np.empty((_BLOCK_INPUTS, CONFIG.hidden_size), dtype=np.float32)
    # Longest first: those of a block that have a token in a place are the first ones of it.
    order = sorted(range(len(inputs)), key=lambda index: -len(inputs[index]))
    for first in range(0, len(order), _BLOCK_INPUTS):
        numbers = order[first : first + _BLOCK_INPUTS]
        block = [inputs[number] for number in numbers]
        sums = np.zeros((len(block), CONFIG.hidden_size), dtype=np.float32)
        for place in range(len(block[0])):
            tokens = [tokens[place] for tokens in block if len(tokens) > place]
            vectors = added[: len(tokens)]
            np.concatenate(tokens, out=vectors.reshape(-1))
            sums[: len(tokens)] += vectors
        np.divide(sums, np.array([len(tokens) for tokens in block], dtype=np.float32)[:, None], out=sums)
        means[numbers] = sums
    return (means[number : number + 1] for number in range(len(inputs)))


_BLOCK_INPUTS = 32
"""Inputs whose sums are made together: few enough for the processor's cache."""


@lru_cache(maxsize=4096)
def _token_vector(token: int, offset: int) -> FloatArray:
    return np.random.default_rng([token, offset]).standard_normal(CONFIG.hidden_size, dtype=np.float32)
