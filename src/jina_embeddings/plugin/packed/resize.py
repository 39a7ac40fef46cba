"""Pillow's bicubic resizing on any device, with the same bytes as a result.

Pillow resizes rows and columns one after the other, with fixed-point weights of 22 fractional bits, and rounds to bytes
in between (`src/libImaging/Resample.c`). Here each of the two passes is a matrix product in float64, which represents
those sums exactly.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
import torch
from PIL import Image

from .transfer import to_device

_FRACTION_BITS = 22
# Keys' cubic filter (1981) with the parameter a = -1/2; its support is two pixels to each side.
_A, _SUPPORT_PIXELS = -0.5, 2.0


def resize_bicubic(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resizes uint8 (h, w, 3) to uint8 (height, width, 3), on the device of the pixels."""
    old_height, old_width, _ = pixels.shape
    if (old_height, old_width) == (height, width):
        return pixels
    saved = old_height - height
    columns_first = saved > 0 and saved > 2 * (old_width - width) and _begins_with_columns()
    planes = pixels.permute(2, 0, 1).double()
    for axis in (1, 2) if columns_first else (2, 1):
        size, new_size = (old_height, height) if axis == 1 else (old_width, width)
        if size != new_size:
            weights = _weights(size, new_size, pixels.device)
            planes = _rounded(weights @ planes if axis == 1 else planes @ weights.T)
    return planes.to(torch.uint8).permute(1, 2, 0).contiguous()


@cache
def _begins_with_columns() -> bool:
    """Whether the installed Pillow resizes columns first where that is less work, as newer versions do.

    The order shows in how a small image is rounded.
    """
    dots = np.array([[[95], [217]], [[15], [215]]], dtype=np.uint8).repeat(3, axis=2)
    rows, both = (
        np.asarray(image.resize((3, 1), Image.Resampling.BICUBIC))
        for image in (Image.fromarray(dots).resize((3, 2), Image.Resampling.BICUBIC), Image.fromarray(dots))
    )
    return not np.array_equal(rows, both)


def _rounded(sums: torch.Tensor) -> torch.Tensor:
    """Pillow's `clip8` of sums of weighted bytes; the result is still float64."""
    return sums.add_(2.0 ** (_FRACTION_BITS - 1)).mul_(2.0**-_FRACTION_BITS).floor_().clamp_(0, 255)


@lru_cache(maxsize=16)
def _weights(size: int, new_size: int, device: torch.device) -> torch.Tensor:
    """float64 (new_size, size): the fixed-point weight of each old pixel in each new one, as whole numbers."""
    return to_device(filter_weights(size, new_size), device)


def filter_weights(size: int, new_size: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc`, with the same roundings in the same order.

    Returns float64 (new_size, size), whole numbers with `_FRACTION_BITS` fractional bits.
    """
    scale = size / new_size
    stretch = max(scale, 1.0)
    reach = _SUPPORT_PIXELS * stretch
    centers = (np.arange(new_size) + 0.5) * scale
    # astype truncates towards zero, as a cast in C does.
    first = np.maximum((centers - reach + 0.5).astype(np.int64), 0)
    stop = np.minimum((centers + reach + 0.5).astype(np.int64), size)
    offsets = np.arange(int((stop - first).max()))
    inside = first[:, None] + offsets < stop[:, None]
    taps = np.where(inside, _cubic((offsets + first[:, None] - centers[:, None] + 0.5) * (1.0 / stretch)), 0.0)
    # cumsum adds one after another, as Pillow does; `sum` would add in another order.
    total = np.cumsum(taps, axis=1)[:, -1:]
    taps = np.where(total != 0, taps / total, taps)
    scaled = taps * (1 << _FRACTION_BITS)
    whole = np.trunc(scaled + np.where(taps < 0, -0.5, 0.5))
    weights = np.zeros((new_size, size))
    rows, columns = np.nonzero(inside)
    weights[rows, first[rows] + columns] = whole[rows, columns]
    return weights


def _cubic(x: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    x = np.abs(x)
    near = ((_A + 2.0) * x - (_A + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * _A
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))
