"""Images that resizing is tested on, and Pillow's result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

_SIDES = st.integers(1, 300)


def any_sizes(test: Callable[..., None]) -> Any:
    """Runs a test with the old and the new height and width, a seed and a kind, the last two for `drawn`."""
    kinds = st.sampled_from(["noise", "extremes", "ramp"])
    for case in ((1, 1, 56, 56, 0, "noise"), (300, 1, 1, 300, 0, "extremes"), (28, 28, 28, 28, 0, "noise")):
        test = example(*case)(test)
    given_sizes = given(_SIDES, _SIDES, _SIDES, _SIDES, st.integers(0, 2**32 - 1), kinds)
    return pytest.mark.long(settings(max_examples=300, deadline=None)(given_sizes(test)))


def drawn(height: int, width: int, seed: int, kind: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == "extremes":
        # The filter overshoots at edges, where bytes have to be clipped.
        return rng.choice(np.array([0, 255], dtype=np.uint8), (height, width, 3))
    ramp = np.add.outer(np.arange(height), np.arange(width))[..., None] * [1, 2, 3]
    return np.asarray(ramp % 256, dtype=np.uint8)


def by_pillow(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))
