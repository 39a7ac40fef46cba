"""Pillow's bicubic filter on any device, with the same bytes.

Pillow resizes rows and columns one after the other, by integer weights of 22 bits after the point, and rounds to bytes
in between (`src/libImaging/Resample.c`). Here each of the two is a product in float64, where such sums are exact.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
import torch
from PIL import Image

from .transfer import to_device

_FRACTION_BITS = 22
# Of Keys' family of cubic filters (1981), the one with a = -1/2, which reaches two pixels to each side.
_A, _REACH = -0.5, 2.0


def resize_bicubic(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """uint8 (h, w, 3) to uint8 (height, width, 3), on the device of the pixels."""
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
    """Whether this Pillow resizes columns first where that saves it work, as new ones do; rounding tells."""
    dots = np.array([[[95], [217]], [[15], [215]]], dtype=np.uint8).repeat(3, axis=2)
    rows, both = (
        np.asarray(image.resize((3, 1), Image.Resampling.BICUBIC))
        for image in (Image.fromarray(dots).resize((3, 2), Image.Resampling.BICUBIC), Image.fromarray(dots))
    )
    return not np.array_equal(rows, both)


def _rounded(sums: torch.Tensor) -> torch.Tensor:
    """What Pillow's `clip8` makes of sums of weighted bytes, still as float64."""
    return sums.add_(2.0 ** (_FRACTION_BITS - 1)).mul_(2.0**-_FRACTION_BITS).floor_().clamp_(0, 255)


@lru_cache(maxsize=16)
def _weights(size: int, new_size: int, device: torch.device) -> torch.Tensor:
    """float64 (new_size, size): whole numbers, what each old pixel gives to each new one."""
    return to_device(filter_weights(size, new_size), device)


def filter_weights(size: int, new_size: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc`, step by step, since every rounding counts."""
    scale = size / new_size
    stretch = max(scale, 1.0)
    reach = _REACH * stretch
    centers = (np.arange(new_size) + 0.5) * scale
    # Cut towards zero, as a cast in C does.
    first = np.maximum((centers - reach + 0.5).astype(np.int64), 0)
    stop = np.minimum((centers + reach + 0.5).astype(np.int64), size)
    offsets = np.arange(int((stop - first).max()))
    inside = first[:, None] + offsets < stop[:, None]
    taps = np.where(inside, _cubic((offsets + first[:, None] - centers[:, None] + 0.5) * (1.0 / stretch)), 0.0)
    # One after another, as in Pillow: `sum` would add in another order.
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
