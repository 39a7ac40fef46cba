"""Whether two pictures look the same: small grey copies, compared."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 24
SAME = 0.97

Grey = NDArray[np.float32]


def thumbnails(images: Sequence[bytes]) -> Grey:
    """Centred unit vectors (n, SIDE * SIDE) of encoded images; an image of one colour is all zeros."""
    rows = np.zeros((len(images), SIDE * SIDE), dtype=np.float32)
    for row, encoded in zip(rows, images, strict=True):
        with Image.open(io.BytesIO(encoded)) as image:
            row[:] = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), np.float32).ravel()
    rows -= rows.mean(1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(min=1e-6)


def lookalikes(some: Grey, others: Grey) -> NDArray[np.bool_]:
    """(some, others): which pictures are all but the same."""
    return some @ others.T > SAME
