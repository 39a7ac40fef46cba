"""Pillow's bicubic resizing on any device, with the same bytes as a result.

Each of its two passes (see `inputs.bicubic`) is a matrix product in float64, which represents their sums exactly.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from ...inputs.bicubic import FRACTION_BITS, filter_weights, height_first
from .transfer import to_device


def resize_bicubic(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resizes uint8 (h, w, 3) to uint8 (height, width, 3), on the device of the pixels."""
    old_height, old_width, _ = pixels.shape
    if (old_height, old_width) == (height, width):
        return pixels
    planes = pixels.permute(2, 0, 1).double()
    for axis in (1, 2) if height_first((old_height, old_width), (height, width)) else (2, 1):
        size, new_size = (old_height, height) if axis == 1 else (old_width, width)
        if size != new_size:
            weights = _weights(size, new_size, pixels.device)
            planes = _rounded(weights @ planes if axis == 1 else planes @ weights.T)
    return planes.to(torch.uint8).permute(1, 2, 0).contiguous()


def _rounded(sums: torch.Tensor) -> torch.Tensor:
    """Pillow's `clip8` of sums of weighted bytes; the result is still float64."""
    return sums.add_(2.0 ** (FRACTION_BITS - 1)).mul_(2.0**-FRACTION_BITS).floor_().clamp_(0, 255)


@lru_cache(maxsize=16)
def _weights(size: int, new_size: int, device: torch.device) -> torch.Tensor:
    """float64 (new_size, size): the fixed-point weight of each old pixel in each new one, as whole numbers."""
    return to_device(filter_weights(size, new_size), device)
