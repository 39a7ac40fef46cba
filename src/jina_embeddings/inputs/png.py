"""PNG in a third of Pillow's time: zlib-ng inflates the rows, and a compiled loop undoes their filters.

Pillow still reads the file and checks it; it is given another decoder, for images of 8 bits a channel that are not
interlaced. Everything else, and all until the loop is compiled, is decoded by Pillow's own. A file without all of its
rows is refused by both, as a cut JPEG is.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .compiled import Compiled, by_numba

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

Unfilter = Callable[["NDArray[np.uint8]", "NDArray[np.uint8]", int], int]

_NAME = "jina-embeddings-png"
_CHANNELS = {"L": 1, "P": 1, "LA": 2, "RGB": 3, "RGBA": 4}
# What Pillow's decoder of PNG returns for damaged data, and for a row with an unknown filter.
_BROKEN, _UNKNOWN = -2, -3
# Rows that are decoded together stay in a core's cache.
_BAND_BYTES = 2**19
_NONE, _SUB, _UP, _AVERAGE, _PAETH = range(5)
# Of an interlaced image: first column and row of each pass, and the steps between them (ISO/IEC 15948, section 8).
_PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def load(image: Image.Image) -> None:
    """Decodes an opened image. Raises OSError for a PNG without all of its rows, and what Pillow raises."""
    from PIL import ImageFile

    tiles: Any = getattr(image, "tile", ())
    if image.format != "PNG" or len(tiles) != 1 or tiles[0][0] != "zip" or ImageFile.LOAD_TRUNCATED_IMAGES:
        image.load()
        return
    attributes, read, blocks = vars(image), image.load_read, list[bytes]()  # type: ignore[attr-defined]

    def kept(num_bytes: int) -> bytes:
        blocks.append(read(num_bytes))
        return blocks[-1]

    attributes["load_read"] = kept
    try:
        image.load()
    finally:
        del attributes["load_read"]
    # Pillow leaves rows black that are missing, if the compressed data say that they end there.
    interlaced = bool(image.info.get("interlace"))
    if not interlaced and any(image.crop((0, image.height - 1, *image.size)).tobytes()):
        return
    left, upper, right, lower = tiles[0][1]
    raw_mode = tiles[0][3] if isinstance(tiles[0][3], str) else tiles[0][3][0]
    missing = _missing(blocks, _num_row_bytes(right - left, lower - upper, raw_mode, interlaced))
    if missing:
        attributes["tile"] = tiles  # as Pillow leaves it after an error, so that it is one again
        raise OSError(f"image file is truncated ({missing} bytes of its rows are missing)")


def _missing(blocks: Iterable[bytes], num_bytes: int) -> int:
    """How many of so many bytes the compressed blocks don't have."""
    inflater = zlib.decompressobj()
    for block in blocks:
        while block and num_bytes:
            try:
                num_bytes -= len(inflater.decompress(block, min(num_bytes, _BAND_BYTES)))
            except zlib.error:
                return 0  # behind the rows, or Pillow would have refused it
            block = inflater.unconsumed_tail
    return num_bytes


def _num_row_bytes(width: int, height: int, raw_mode: str, interlaced: bool) -> int:
    """How many bytes the rows have, with that of each one's filter. raw_mode: Pillow's, such as `RGB;16B`."""
    mode, _, bits = raw_mode.partition(";")
    pixel_bits = _CHANNELS.get(mode, 1) * int(bits.rstrip("B") or (1 if mode == "1" else 8))
    total = 0
    for x, y, step_x, step_y in _PASSES if interlaced else [(0, 0, 1, 1)]:
        columns, rows = -(-(width - x) // step_x), -(-(height - y) // step_y)
        total += max(0, rows) * (1 + -(-columns * pixel_bits // 8)) if columns > 0 else 0
    return total


def decode_faster(image: Image.Image) -> None:
    """Gives an opened image that is not loaded yet the faster decoder, if there is one for it."""
    tiles: Any = getattr(image, "tile", ())
    plain = image.format == "PNG" and image.mode in _CHANNELS and getattr(image, "n_frames", 1) == 1 == len(tiles)
    # The last value of a tile is the mode if the file has 8 bits. Older versions of Pillow have plain tuples.
    if not plain or image.info.get("interlace") or tiles[0][-1] != image.mode or not hasattr(tiles[0], "_replace"):
        return
    if LOOP.use() is not None:
        vars(image)["tile"] = [tiles[0]._replace(codec_name=_NAME)]


def _loop() -> Unfilter:
    """Raises ImportError without numba or zlib-ng."""
    import numba

    rows = numba.uint8[:, ::1]
    unfilter: Unfilter = by_numba(_unfilter, rows, rows, numba.int64, returns=numba.int64)
    _register()
    return unfilter


LOOP = Compiled(_loop, "Pillow decodes PNG")


@cache
def _register() -> None:
    from PIL import Image, ImageFile
    from zlib_ng import zlib_ng

    class Decoder(ImageFile.PyDecoder):
        """Gets the compressed bytes of one image, block by block; a band of rows becomes pixels at a time."""

        def init(self, args: tuple[Any, ...]) -> None:
            self._inflater = zlib_ng.decompressobj()
            self._row, self._num_bytes = 0, 0

        def setimage(self, im: Any, extents: tuple[int, int, int, int] | None = None) -> None:
            super().setimage(im, extents)
            self._channels = _CHANNELS[self.mode]
            self._height, row_bytes = self.state.ysize, self._channels * self.state.xsize
            num_rows = min(self._height, max(1, _BAND_BYTES // row_bytes))
            self._band = np.empty((num_rows, 1 + row_bytes), np.uint8)
            # The first row is the one above the band.
            self._pixels = np.zeros((1 + len(self._band), row_bytes), np.uint8)

        def decode(self, buffer: Any) -> tuple[int, int]:
            given = len(buffer)
            while True:
                room = self._band[: self._height - self._row].reshape(-1)[self._num_bytes :]
                try:
                    found = self._inflater.decompress(buffer, len(room))
                except zlib_ng.error:  # type: ignore[misc]  # a class, whatever its stub says
                    return -1, _BROKEN
                room[: len(found)] = np.frombuffer(found, np.uint8)
                self._num_bytes += len(found)
                buffer = self._inflater.unconsumed_tail
                if len(found) < len(room):
                    return given, 0
                if not self._end_band():
                    return -1, _UNKNOWN
                if self._row == self._height:
                    return -1, 0

        def _end_band(self) -> bool:
            """Puts the rows of a full band into the image. Returns False for an unknown filter."""
            unfilter, num_rows = LOOP.use(), min(len(self._band), self._height - self._row)
            assert unfilter is not None
            if unfilter(self._band[:num_rows], self._pixels, self._channels) < num_rows:
                return False
            self.state.yoff, self.state.ysize = self._row, num_rows
            self.set_as_raw(self._pixels[1 : 1 + num_rows].tobytes())
            self._pixels[0] = self._pixels[num_rows]
            self._row, self._num_bytes = self._row + num_rows, 0
            return True

    Image.register_decoder(_NAME, Decoder)


def _unfilter(rows: Any, pixels: Any, channels: int) -> int:
    """Undoes the filters of PNG (ISO/IEC 15948, section 9), and returns how many rows come before an unknown one.

    rows: uint8 (num_rows, 1 + channels * width), the filter of each and what it made of the row.
    pixels: uint8 (1 + num_rows, channels * width), the row above the first, and where the others go.
    """
    for y in range(len(rows)):
        kind, row, above, out = rows[y, 0], rows[y, 1:], pixels[y], pixels[y + 1]
        if kind == _NONE:
            out[:] = row
        elif kind == _SUB:
            out[:channels] = row[:channels]
            for i in range(channels, len(row)):
                out[i] = row[i] + out[i - channels]
        elif kind == _UP:
            for i in range(len(row)):
                out[i] = row[i] + above[i]
        elif kind == _AVERAGE:
            for i in range(channels):
                out[i] = row[i] + (above[i] >> 1)
            for i in range(channels, len(row)):
                out[i] = row[i] + ((np.int32(out[i - channels]) + np.int32(above[i])) >> 1)
        elif kind == _PAETH:
            # A channel after the other, so that its neighbours stay in registers.
            for channel in range(channels):
                left = corner = np.int32(0)
                for i in range(channel, len(row), channels):
                    up = np.int32(above[i])
                    # The neighbour that is nearest to left + up - corner; left, up, corner where two are as near.
                    to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
                    nearest = (
                        left if to_left <= to_up and to_left <= to_corner else up if to_up <= to_corner else corner
                    )
                    left, corner = np.int32((row[i] + nearest) & 255), up
                    out[i] = left
        else:
            return y
    return len(rows)
