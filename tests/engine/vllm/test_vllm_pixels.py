"""Pixels in memory that vLLM's workers map, in whole engines."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inputs import pictures
from jina_embeddings import JinaEmbeddings

if TYPE_CHECKING:
    from conftest import CheckpointMaker

pytestmark = pytest.mark.engine


def embedded(model: JinaEmbeddings) -> list[Any]:
    images = [picture.resize((picture.width + more, picture.height)) for more in (0, 40) for picture in pictures().values()]
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
    options: dict[str, Any] = {"engine": "vllm", "merge_adapter": "retrieval", "max_num_batched_tokens": 512}
    with JinaEmbeddings(folder, **options) as model:
        engine: Any = model._engine
        memory = engine._sender._memory
        assert memory is not None
        shared = embedded(model)
        assert memory._free
        # A call that its caller gives up, then others.
        for _ in range(3):
            with suppress(TimeoutError):
                engine.run_async(asyncio.wait_for(model.aencode_image([*pictures().values()] * 20), 0.05))
        again = embedded(model)
        assert not memory._taken
        numbers = [segment.descriptor for segment in memory._free]
    assert not any(is_segment(number) for number in numbers)

    # As on another host, or for another user, where a worker can't open it.
    from jina_embeddings.plugin.packed import pixels

    monkeypatch.setattr(pixels, "_mapped", lambda *_: (_ for _ in ()).throw(PermissionError("not yours")))
    with JinaEmbeddings(folder, **options) as model:
        engine = model._engine
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
