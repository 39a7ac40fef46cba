"""Resizing on the device gives the same bytes as Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from jina_embeddings.plugin.packed.resize import resize_bicubic

SIZES = st.integers(1, 300)


def differing(pixels: np.ndarray, height: int, width: int) -> int:
    expected = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))
    found = resize_bicubic(torch.from_numpy(pixels), height, width)
    assert found.dtype == torch.uint8
    assert found.is_contiguous()
    return int((found.numpy() != expected).sum())


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(SIZES, SIZES, SIZES, SIZES, st.integers(0, 2**32 - 1), st.sampled_from(["noise", "extremes", "ramp"]))
@example(1, 1, 56, 56, 0, "noise")
@example(300, 1, 1, 300, 0, "extremes")
@example(28, 28, 28, 28, 0, "noise")
def test_every_byte_equals_pillows(old_h: int, old_w: int, height: int, width: int, seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    if kind == "noise":
        pixels = rng.integers(0, 256, (old_h, old_w, 3), dtype=np.uint8)
    elif kind == "extremes":
        # The filter overshoots at edges, where bytes have to be clipped.
        pixels = rng.choice(np.array([0, 255], dtype=np.uint8), (old_h, old_w, 3))
    else:
        pixels = (np.add.outer(np.arange(old_h), np.arange(old_w))[..., None] * [1, 2, 3] % 256).astype(np.uint8)
    assert differing(pixels, height, width) == 0


@pytest.mark.long
@pytest.mark.parametrize("size", [(1754, 1240, 896, 644), (3024, 4032, 672, 896), (600, 800, 616, 812)])
def test_sizes_of_pages_and_photographs_equal_pillows(size: tuple[int, int, int, int]) -> None:
    old_h, old_w, height, width = size
    assert differing(np.random.default_rng(0).integers(0, 256, (old_h, old_w, 3), dtype=np.uint8), height, width) == 0
