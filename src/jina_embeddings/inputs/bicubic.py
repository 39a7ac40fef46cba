"""The weights of Pillow's bicubic filter, and the order of its two passes, for those that resize to the same bytes.

Pillow changes the width and the height of an image one after the other, with fixed-point weights of 22 fractional bits,
and rounds to bytes in between (`src/libImaging/Resample.c`).
"""

from __future__ import annotations

from functools import cache

import numpy as np

FRACTION_BITS = 22
# Keys' cubic filter (1981) with the parameter a = -1/2; its support is two pixels to each side.
_A, _SUPPORT_PIXELS = -0.5, 2.0


def height_first(old: tuple[int, int], new: tuple[int, int]) -> bool:
    """Whether Pillow changes the height before the width; old, new: (height, width)."""
    saved = old[0] - new[0]
    return saved > 0 and saved > 2 * (old[1] - new[1]) and _height_can_be_first()


@cache
def _height_can_be_first() -> bool:
    """Whether the installed Pillow changes the height first where that is less work, as newer versions do.

    The order shows in how a small image is rounded.
    """
    from PIL import Image

    dots = np.array([[[95], [217]], [[15], [215]]], dtype=np.uint8).repeat(3, axis=2)
    rows, both = (
        np.asarray(image.resize((3, 1), Image.Resampling.BICUBIC))
        for image in (Image.fromarray(dots).resize((3, 2), Image.Resampling.BICUBIC), Image.fromarray(dots))
    )
    return not np.array_equal(rows, both)


def filter_weights(size: int, new_size: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc`, with the same roundings in the same order.

    Returns float64 (new_size, size), whole numbers with `FRACTION_BITS` fractional bits.
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
    scaled = taps * (1 << FRACTION_BITS)
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
