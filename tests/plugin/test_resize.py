"""Resizing on the device gives the same bytes as Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jina_embeddings.plugin.packed.resize import resize_bicubic
from resized_images import any_sizes, by_pillow, drawn


def differing(pixels: np.ndarray, height: int, width: int) -> int:
    expected = by_pillow(pixels, height, width)
    found = resize_bicubic(torch.from_numpy(pixels), height, width)
    assert found.dtype == torch.uint8
    assert found.is_contiguous()
    return int((found.numpy() != expected).sum())


@any_sizes
def test_every_byte_equals_pillows(old_h: int, old_w: int, height: int, width: int, seed: int, kind: str) -> None:
    pixels = drawn(old_h, old_w, seed, kind)
    assert differing(pixels, height, width) == 0


@pytest.mark.long
@pytest.mark.parametrize("size", [(1754, 1240, 896, 644), (3024, 4032, 672, 896), (600, 800, 616, 812)])
def test_sizes_of_pages_and_photographs_equal_pillows(size: tuple[int, int, int, int]) -> None:
    old_h, old_w, height, width = size
    assert differing(np.random.default_rng(0).integers(0, 256, (old_h, old_w, 3), dtype=np.uint8), height, width) == 0
