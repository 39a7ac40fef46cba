"""Files of any format that were cut, or hold another that was, are never read with wrong pixels."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from image_files import saved
from jina_embeddings.errors import ImageError
from jina_embeddings.inputs.sources import load_image
from png_files import SIGNATURE, chunk

# Smooth, so that files are short: each is read once for every byte.
PIXELS = np.indices((24, 20)).sum(0).astype(np.uint8)[..., None] * np.array([3, 4, 5], np.uint8)
KINDS: list[tuple[str, str, dict[str, Any]]] = [
    ("PNG", "RGB", {}),
    ("PNG", "P", {}),
    ("JPEG", "RGB", {}),
    ("JPEG", "L", {"progressive": True}),
    ("GIF", "P", {}),
    ("TIFF", "L", {}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("TIFF", "RGB", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", "1", {"compression": "group4"}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("BMP", "P", {}),
    ("ICO", "RGBA", {"sizes": [(20, 20)]}),
    ("ICO", "RGBA", {"sizes": [(20, 20)], "bitmap_format": "bmp"}),
    ("JPEG2000", "RGB", {}),
    ("JPEG2000", "RGB", {"tile_size": (8, 8)}),
    ("JPEG2000", "L", {"tile_size": (8, 8), "no_jp2": True}),
    ("PPM", "L", {}),
    ("AVIF", "RGB", {}),
]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(("file_format", "mode", "options"), KINDS)
def test_a_file_that_is_cut_anywhere_is_refused_or_right(file_format: str, mode: str, options: dict[str, Any]) -> None:
    if file_format == "AVIF" and "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow has no AVIF")
    data = saved(Image.fromarray(PIXELS).convert(mode), file_format, **options)
    right = load_image(data).tobytes()
    refused = 0
    for size in range(len(data)):
        try:
            assert load_image(data[:size]).tobytes() == right, f"cut at {size} of {len(data)}"
        except ImageError:
            refused += 1
    assert refused > len(data) / 2


def icon(png: bytes) -> bytes:
    """An ICO, whose header says 16 x 16, around a PNG."""
    head = struct.pack("<3H4B2H2I", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(png), 22)
    return head + png


def png_of(width: int, height: int, rows: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return SIGNATURE + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_png_in_an_icon_is_held_to_what_any_png_is() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in noise)
    assert load_image(icon(png_of(16, 16, rows))).tobytes() == noise.tobytes()
    with pytest.raises(ImageError, match="image file is truncated"):
        load_image(icon(png_of(16, 16, rows[: 11 * 49])))


def test_a_png_in_an_icon_is_measured_before_it_is_decoded() -> None:
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(ImageError, match="144000000 pixels, at most"):
        load_image(icon(png_of(12_000, 12_000, bytes(36_001))))
    with pytest.raises(ImageError, match="over 200 times as long as wide"):
        load_image(icon(png_of(1, 300, b"\0abc" * 300)))


def test_an_icon_of_colours_with_a_transparent_one_is_laid_on_white() -> None:
    paletted = Image.new("P", (16, 16), 1)
    paletted.putpalette([0, 0, 0, 10, 20, 30])
    paletted.paste(0, (0, 0, 8, 16))
    image = load_image(icon(saved(paletted, "PNG", transparency=0)))
    assert (image.getpixel((0, 0)), image.getpixel((15, 0))) == ((255, 255, 255), (10, 20, 30))


def test_parts_of_a_tile_that_are_missing_are_noticed_and_read_where_that_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = saved(Image.fromarray(PIXELS), "JPEG2000", tile_size=(8, 8))
    second = data.index(b"\xff\x90\x00\x0a\x00\x01")
    with pytest.raises(ImageError, match="truncated \\(8 of its tiles are missing"):
        load_image(data[:second])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert load_image(data[:second]).size == (20, 24)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damage_to_a_jpeg_2000_gives_an_image_or_an_image_error() -> None:
    good = saved(Image.fromarray(PIXELS), "JPEG2000", tile_size=(8, 8))
    random = np.random.default_rng(0)
    for _ in range(300):
        data = np.frombuffer(good, np.uint8).copy()
        data[random.integers(0, 250, 3)] = random.integers(0, 256, 3)
        with suppress(ImageError):
            assert load_image(data.tobytes()).mode == "RGB"
