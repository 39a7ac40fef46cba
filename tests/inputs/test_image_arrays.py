"""Arrays as images: which shapes and types are read, and which are refused."""

from __future__ import annotations

import numpy as np
import pytest

from jina_embeddings.errors import ImageError
from jina_embeddings.inputs.sources import load_image

RGB = np.random.default_rng(1).integers(0, 256, (2, 5, 3), dtype=np.uint8)
GREY = RGB[:, :, 0]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (RGB, RGB),
        (RGB[:, ::-1], RGB[:, ::-1]),
        (RGB.transpose(2, 0, 1), RGB),
        (np.dstack([RGB, np.full((2, 5), 255, np.uint8)]), RGB),
        (np.dstack([RGB, np.zeros((2, 5), np.uint8)]), np.full_like(RGB, 255)),
        (GREY, np.dstack([GREY] * 3)),
        (GREY[:, :, None], np.dstack([GREY] * 3)),
        (GREY[None], np.dstack([GREY] * 3)),
        (RGB.astype(np.uint16) * 257, RGB),
        ((RGB.astype(np.uint16) * 257).astype(">u2"), RGB),
        ((RGB / 255).astype(">f4"), RGB),
        (GREY.astype(np.uint16) * 257, np.dstack([GREY] * 3)),
        (RGB / 255, RGB),
        ((RGB / 255).astype(np.float32), RGB),
        ((RGB / 255).astype(np.float16), RGB),
    ],
)
def test_arrays_of_each_shape_and_type(array: np.ndarray, expected: np.ndarray) -> None:
    assert np.array_equal(np.asarray(load_image(array)), expected)


def test_three_rows_of_rgb_are_read_as_channels_last() -> None:
    array = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    assert np.array_equal(np.asarray(load_image(array)), array)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(5, np.uint8), "shape"),
        (np.zeros((2, 5, 2), np.uint8), "shape"),
        (np.zeros((1, 2, 5, 3), np.uint8), "shape"),
        (np.zeros((2, 5, 3), np.int64), "int64"),
        (np.zeros((2, 5), np.bool_), "bool"),
        (np.full((2, 5), 1.5), "1.5"),
        (np.full((2, 5), -0.5), "-0.5"),
        (np.full((2, 5), np.nan), "nan"),
        (np.zeros((0, 5, 3)), "5 x 0"),
        (np.zeros((5, 0), np.uint8), "0 x 5"),
        (np.zeros((1, 201), np.uint8), "201 x 1"),
    ],
)
def test_arrays_of_other_shapes_or_values_are_refused_with_the_reason(array: np.ndarray, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        load_image(array)
