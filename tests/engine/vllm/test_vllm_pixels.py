"""Pixels in memory that vLLM's workers map, in whole engines."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inputs import pictures
from loaded import vllm_loaded

pytest.importorskip("vllm")
from jina_embeddings.plugin.packed import pixels

if TYPE_CHECKING:
    from conftest import CheckpointMaker

    from jina_embeddings import JinaEmbeddings

pytestmark = pytest.mark.engine


def embedded(model: JinaEmbeddings) -> list[Any]:
    images = list(pictures().values())
    images += [picture.resize((picture.width + 40, picture.height)) for picture in images]
    # Together they are more than a pack, and one is a small call.
    return [
        *model.encode_image(images * 3),
        *model.encode_image(images[:3], return_multivector=True),
        model.encode_image(images[0]),
    ]


def test_vectors_are_the_same_bit_for_bit_whether_pixels_are_shared_or_sent(
    checkpoint: CheckpointMaker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = checkpoint(dtype="float32")
    options: dict[str, Any] = {"merge_adapter": "retrieval", "max_num_batched_tokens": 1024}
    with vllm_loaded(folder, **options) as (model, engine):
        memory = engine._sender._memory
        assert memory is not None
        shared = embedded(model)
        assert memory._free

        async def given_up() -> None:
            with suppress(TimeoutError):
                await asyncio.wait_for(model.aencode_image([*pictures().values()] * 20), 0.3)

        for _ in range(3):
            asyncio.run(given_up())
        again = embedded(model)
        assert not memory._taken
        descriptors = [segment.descriptor for segment in memory._free]
        assert all(map(is_segment, descriptors))
    assert not any(map(is_segment, descriptors))

    # As on another host, or for another user, where a worker can't open it.
    def refuse(*_: Any) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(pixels, "_mapped", refuse)
    with vllm_loaded(folder, **options) as (model, engine):
        assert engine._sender._memory is None
        assert "not yours" in caplog.text
        sent = embedded(model)
    for one, same, other in zip(shared, again, sent, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, same)


def is_segment(descriptor: int) -> bool:
    try:
        return "jina-embeddings-pixels" in os.readlink(f"/proc/self/fd/{descriptor}")
    except FileNotFoundError:
        return False
