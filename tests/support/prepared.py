"""Prepares a single text or image in tests."""

from __future__ import annotations

from typing import Any

from jina_embeddings.inputs.processor import Processor
from jina_embeddings.types import Prepared

MAX_LENGTH = 1000


def one_text(processor: Processor, text: object, **options: Any) -> Prepared:
    (prepared,) = processor.texts([text], "retrieval", "query", **options)
    assert isinstance(prepared, Prepared), prepared
    return prepared


def one_image(processor: Processor, image: Any, **options: Any) -> Prepared:
    (prepared,) = processor.images([image], "retrieval", **options)
    assert isinstance(prepared, Prepared), prepared
    return prepared


SIZES = [(28, 28), (400, 400), (120, 960), (960, 120), (31, 200), (4000, 3000), (1, 1), (10, 1900)]
