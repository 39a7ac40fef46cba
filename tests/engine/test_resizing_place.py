"""How many images of a call the engine's device resizes, by engine, option and device."""

from __future__ import annotations

import sys

import pytest

from jina_embeddings.engine import choice
from jina_embeddings.options import make_options


@pytest.mark.parametrize(
    ("engine", "where", "has_cuda", "most"),
    [
        ("vllm", "auto", True, 1),
        ("vllm", "auto", False, 0),
        ("vllm", "device", False, sys.maxsize),
        ("vllm", "host", True, 0),
        ("torch", "auto", True, 0),
    ],
)
def test_lone_images_are_resized_on_a_gpu(
    engine: str, where: str, has_cuda: bool, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "_has_cuda", lambda: has_cuda)
    assert choice.most_resized_later(engine, make_options({"image_resize": where}, "vllm")) == most
