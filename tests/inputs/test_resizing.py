"""Compiled resizing gives the bytes of Pillow, and Pillow resizes where it can't."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from jina_embeddings.inputs import resizing
from jina_embeddings.inputs.bicubic import filter_weights
from jina_embeddings.inputs.resizing import Passes, Resizer
from resized_images import any_sizes, by_pillow, drawn

if TYPE_CHECKING:
    from collections.abc import Callable

pytest.importorskip("numba")


@pytest.fixture(scope="module")
def passes() -> Passes:
    return Passes()


@any_sizes
def test_every_byte_equals_pillows(
    passes: Passes, old_h: int, old_w: int, height: int, width: int, seed: int, kind: str
) -> None:
    pixels = drawn(old_h, old_w, seed, kind)
    np.testing.assert_array_equal(passes.resized(pixels, height, width), by_pillow(pixels, height, width))


@pytest.mark.long
@pytest.mark.parametrize("size", [(1754, 1240, 896, 644), (3024, 4032, 672, 896), (600, 800, 616, 812)])
def test_sizes_of_pages_and_photographs_equal_pillows(passes: Passes, size: tuple[int, int, int, int]) -> None:
    old_h, old_w, height, width = size
    pixels = np.random.default_rng(0).integers(0, 256, (old_h, old_w, 3), dtype=np.uint8)
    np.testing.assert_array_equal(passes.resized(pixels, height, width), by_pillow(pixels, height, width))


def test_the_loops_are_compiled_once_many_images_have_come(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    used: list[tuple[int, int]] = []

    class Marked:
        def __init__(self) -> None:
            made.append(1)

        def differing(self) -> int:
            return 0

        def resized(self, pixels: np.ndarray, height: int, width: int) -> np.ndarray:
            used.append((height, width))
            return by_pillow(pixels, height, width)

    monkeypatch.setattr(resizing, "Passes", Marked)
    resizer, pixels = Resizer(3), np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    for _ in range(2):
        np.testing.assert_array_equal(resizer(image, 28, 56), by_pillow(pixels, 28, 56))
    # An image that has its size already doesn't count, and can be written to.
    resizer(image, 60, 40)[0, 0, 0] += 1
    assert made == []
    threads = [threading.Thread(target=resizer, args=(image, 28, 56)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # As before a process is forked.
    resizer.loops.wait()
    np.testing.assert_array_equal(resizer(image, 28, 56), by_pillow(pixels, 28, 56))
    assert used[0] == (28, 56)
    assert made == [1]


@pytest.mark.parametrize("reason", ["missing", "wrong"])
def test_pillow_goes_on_where_there_is_no_numba_or_a_byte_differs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, reason: str
) -> None:
    caplog.set_level("INFO", "jina_embeddings.inputs.compiled")
    if reason == "missing":
        monkeypatch.setitem(sys.modules, "numba", None)
    else:
        monkeypatch.setattr(resizing, "filter_weights", off_by_one(filter_weights))
        resizing._taps.cache_clear()
    resizer = Resizer()
    resizer.loops.compile()
    resizing._taps.cache_clear()
    assert ("numba" if reason == "missing" else "bytes are not Pillow's") in caplog.text
    pixels = np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resizer(Image.fromarray(pixels), 28, 56), by_pillow(pixels, 28, 56))


def off_by_one(weights: Callable[[int, int], Any]) -> Callable[[int, int], Any]:
    return lambda old, new: np.roll(weights(old, new), 1, axis=1)
