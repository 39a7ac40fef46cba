"""Pillow's bicubic resizing in compiled loops over several rows at once: the same bytes in a third of the time.

Pillow resizes until they are compiled, and where they can't be.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .bicubic import FRACTION_BITS, filter_weights, height_first
from .compiled import USES_BEFORE, Compiled, by_numba

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

# Rows whose width is changed together, so that one instruction does the same for several of them.
_ROWS = 16
_HALF = 1 << (FRACTION_BITS - 1)


class Resizer:
    """Resizes images by the compiled loops once many have come, and by Pillow until then. Thread-safe."""

    def __init__(self, images_before_compiling: int = USES_BEFORE):
        self.loops = Compiled(_passes, "Pillow resizes images", images_before_compiling)

    def __call__(self, image: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
        """An RGB image resized to uint8 (height, width, 3), with the bytes of Pillow's bicubic filter."""
        from PIL import Image

        if image.size == (width, height):
            return np.array(image)
        if passes := self.loops.use():
            return passes.resized(np.asarray(image), height, width)
        return np.array(image.resize((width, height), Image.Resampling.BICUBIC))


def _passes() -> Passes:
    """Raises ValueError if they differ from Pillow."""
    passes = Passes()
    if wrong := passes.differing():
        raise ValueError(f"{wrong} bytes are not Pillow's")
    return passes


RESIZER = Resizer()


class Passes:
    """The two loops, compiled. Raises ImportError without numba."""

    def __init__(self) -> None:
        import numba

        # Pillow's pixels are read-only.
        pixels = numba.types.Array(numba.uint8, 2, "C", readonly=True)
        types = (pixels, numba.int64[::1], numba.int32[:, ::1], numba.uint8[:, ::1])
        self._width, self._height = by_numba(_change_width, *types), by_numba(_change_height, *types)

    def resized(self, pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
        """uint8 (h, w, 3) resized to uint8 (height, width, 3)."""
        rows = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
        old = pixels.shape[0], pixels.shape[1]
        for of_height in (True, False) if height_first(old, (height, width)) else (False, True):
            if of_height and old[0] != height:
                rows = self._pass(self._height, rows, old[0], height, (height, rows.shape[1]))
            elif not of_height and old[1] != width:
                rows = self._pass(self._width, rows, old[1], width, (len(rows), 3 * width))
        return rows.reshape(height, width, 3)

    @staticmethod
    def _pass(change: Any, rows: NDArray[np.uint8], old: int, new: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
        out = np.empty(shape, dtype=np.uint8)
        change(rows, *_taps(old, new), out)
        return out

    def differing(self) -> int:
        """How many bytes of a few images are not those of Pillow."""
        from PIL import Image

        count = 0
        for old, new in (((75, 61), (28, 31)), ((40, 33), (56, 56)), ((90, 30), (28, 29)), ((17, 64), (17, 28))):
            # Black and white, since the filter overshoots at edges, where bytes have to be clipped.
            pixels = np.random.default_rng(sum(old)).choice(np.array([0, 99, 255], np.uint8), (*old, 3))
            expected = Image.fromarray(pixels).resize(new[::-1], Image.Resampling.BICUBIC)
            count += int((self.resized(pixels, *new) != np.asarray(expected)).sum())
        return count


@lru_cache(maxsize=64)
def _taps(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The first old pixel that each new one is made of, (new,), and the weights from there on, (new, most of them)."""
    weights = filter_weights(old, new)
    used = weights != 0
    first = used.argmax(axis=1)
    count = int((old - used[:, ::-1].argmax(axis=1) - first).max())
    # Those at the end begin earlier, so that all have as many; what is added has the weight 0.
    first = np.minimum(first, old - count)
    taps = np.take_along_axis(weights, first[:, None] + np.arange(count), axis=1)
    return first.astype(np.int64), np.ascontiguousarray(taps, dtype=np.int32)


def _change_width(rows: Any, first: Any, taps: Any, out: Any) -> None:
    """rows: uint8 (height, 3 * old width); out: uint8 (height, 3 * new width)."""
    values, new_values = rows.shape[1], out.shape[1]
    columns = np.zeros((values, _ROWS), np.uint8)
    flat = columns.reshape(-1)
    changed = np.empty((new_values, _ROWS), np.uint8)
    sums = np.empty(3 * _ROWS, np.int32)
    for top in range(0, len(rows), _ROWS):
        count = min(_ROWS, len(rows) - top)
        for row in range(count):
            for value in range(values):
                columns[value, row] = rows[top + row, value]
        for x in range(len(first)):
            sums[:] = _HALF
            for tap in range(taps.shape[1]):
                weight = taps[x, tap]
                begin = 3 * _ROWS * (first[x] + tap)
                pixel = flat[begin : begin + 3 * _ROWS]
                for i in range(3 * _ROWS):
                    sums[i] += weight * np.int32(pixel[i])
            for channel in range(3):
                for row in range(_ROWS):
                    changed[3 * x + channel, row] = min(max(sums[channel * _ROWS + row] >> FRACTION_BITS, 0), 255)
        for row in range(count):
            for value in range(new_values):
                out[top + row, value] = changed[value, row]


def _change_height(rows: Any, first: Any, taps: Any, out: Any) -> None:
    """rows: uint8 (old height, 3 * width); out: uint8 (new height, 3 * width)."""
    sums = np.empty(rows.shape[1], np.int32)
    for y in range(len(first)):
        sums[:] = _HALF
        for tap in range(taps.shape[1]):
            weight = taps[y, tap]
            row = rows[first[y] + tap]
            for i in range(len(sums)):
                sums[i] += weight * np.int32(row[i])
        for i in range(len(sums)):
            out[y, i] = min(max(sums[i] >> FRACTION_BITS, 0), 255)
