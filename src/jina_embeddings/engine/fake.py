"""The fake engine: deterministic vectors without a model, for testing code that uses embeddings.

A token's vector is pseudo-random, seeded by the token. A text's vector is the mean over its tokens, so texts that share
words are similar; the vectors have no other meaning.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import EngineClosedError
from ..inputs.patches import ImageConfig
from ..inputs.processor import IMAGE_PAD, VISION_END, VISION_START, Processor, with_pixels
from ..types import TASKS, ModelInfo, Prepared
from ..vectors.similarity import normalize

if TYPE_CHECKING:
    from ..types import FloatArray

INFO = ModelInfo(
    name="fake",
    revision=None,
    hidden_size=2048,
    multivector_dim=128,
    matryoshka_dims=(128, 256, 512, 1024, 2048),
    tasks=TASKS,
    max_length=32_768,
)
_SPECIAL = {VISION_START: 1, IMAGE_PAD: 2, VISION_END: 3}


class WordTokenizer:
    """Makes a token of each word, whose id is a checksum. Has the methods of a `tokenizers.Tokenizer` we use."""

    def encode_batch_fast(self, texts: list[str], add_special_tokens: bool = False) -> list[Any]:
        return [SimpleNamespace(ids=[self._id(word) for word in self._words(text)]) for text in texts]

    def get_vocab_size(self) -> int:
        return 2**31

    def decode(self, ids: list[int], skip_special_tokens: bool = True) -> str:
        """A word for each; which word had the id, its checksum doesn't say."""
        return " ".join(map(str, ids))

    def token_to_id(self, token: str) -> int:
        return _SPECIAL[token]

    @staticmethod
    def _words(text: str) -> list[str]:
        for token in _SPECIAL:
            text = text.replace(token, f" {token} ")
        return text.split()

    @staticmethod
    def _id(word: str) -> int:
        return _SPECIAL.get(word) or zlib.crc32(word.lower().encode()) % (2**31 - 16) + 16


def fake_processor(
    max_length: int | None = None, min_pixels: int | None = None, max_pixels: int | None = None
) -> Processor:
    """A processor that needs no checkpoint."""
    tokenizer: Any = WordTokenizer()
    config = with_pixels(ImageConfig(), min_pixels, max_pixels)
    return Processor(tokenizer, config, max_length or INFO.max_length)


class FakeEngine:
    """An `Engine` whose vectors come from hashes of the tokens.

    num_inputs, num_calls: how many inputs and calls it has got so far.
    """

    name = "fake"
    calls_at_once = 1
    chunk_size = 256
    hang_s = 10.0

    def __init__(self, max_length: int | None = None):
        self.max_length = max_length or INFO.max_length
        self.num_inputs = 0
        self.num_calls = 0
        self._closed = False

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        if self._closed:
            raise EngineClosedError("the engine is closed: make a new JinaEmbeddings")
        self.num_calls += 1
        self.num_inputs += len(batch)
        return [self._vectors(prepared) for prepared in batch]

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        return await asyncio.to_thread(self.run, batch, batch_size=batch_size)

    @property
    def alive(self) -> bool:
        return not self._closed

    def close(self) -> None:
        self._closed = True

    def _vectors(self, prepared: Prepared) -> FloatArray:
        offset = TASKS.index(prepared.task)
        tokens = np.array([_token_vector(token, offset) for token in prepared.token_ids.tolist()])
        if prepared.image is not None:
            tokens = tokens + _token_vector(zlib.crc32(prepared.image.digest.encode()), offset)
        if prepared.multivector:
            assert INFO.multivector_dim is not None
            return normalize(tokens[:, : INFO.multivector_dim])
        sums = np.array([np.add.reduce(tokens[start:stop]) for start, stop in prepared.spans])
        counts = np.array([stop - start for start, stop in prepared.spans], dtype=np.float32)
        sums /= counts[:, None]
        return sums


@lru_cache(maxsize=4096)
def _token_vector(token: int, offset: int) -> FloatArray:
    return np.random.default_rng([token, offset]).standard_normal(INFO.hidden_size, dtype=np.float32)
