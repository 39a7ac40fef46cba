"""Draws a similarity map over its image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from ...types import FloatArray

_COLOUR = np.array([230, 60, 0], dtype=np.float32)
_OPACITY = 0.7


def draw(image: Image.Image, values: FloatArray, *, size: int = 900) -> Image.Image:
    """The image, at most `size` pixels on a side, tinted by the values: not at the lowest, most at the highest.

    values: (rows, columns), such as one of `SimilarityMap.maps`.
    """
    base = image.convert("RGB")
    base.thumbnail((size, size))
    low, high = float(values.min()), float(values.max())
    shares = (values - low) / (high - low) if high > low else np.zeros_like(values)
    smooth = Image.fromarray(shares.astype(np.float32)).resize(base.size, Image.Resampling.BILINEAR)
    # Squared, so that a place that matches half as well stays readable.
    opacity = _OPACITY * np.asarray(smooth)[..., None] ** 2
    tinted = np.asarray(base, dtype=np.float32) * (1 - opacity) + _COLOUR * opacity
    return Image.fromarray(tinted.round().astype(np.uint8))
