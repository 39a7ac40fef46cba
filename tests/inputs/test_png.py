"""The faster decoder of PNG gives Pillow's pixels."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_embeddings.inputs import png
from jina_embeddings.inputs.compiled import Compiled
from jina_embeddings.inputs.sources import load_image
from png_files import both, chunk

pytest.importorskip("numba")
pytest.importorskip("zlib_ng")

# Channels and PNG's number for each kind of image.
KINDS = {"L": (1, 0), "RGB": (3, 2), "P": (1, 3), "LA": (2, 4), "RGBA": (4, 6)}


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    png.LOOP.compile()
    assert png.LOOP.use() is not None


def file_of(width: int, height: int, rows: bytes, *, kind: str = "RGB", block: int = 2**16) -> bytes:
    """A PNG file of filtered rows, in chunks of `block` compressed bytes."""
    data = zlib.compress(rows)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, KINDS[kind][1], 0, 0, 0))
    if kind == "P":
        head += chunk(b"PLTE", bytes(range(256)) * 3)
    blocks = [chunk(b"IDAT", data[at : at + block]) for at in range(0, len(data), block)]
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(blocks) + chunk(b"IEND", b"")


def rows_of(
    random: np.random.Generator, width: int, height: int, filters: Sequence[int], most: int, kind: str = "RGB"
) -> bytes:
    rows = random.integers(0, most, (height, 1 + KINDS[kind][0] * width), dtype=np.uint8)
    rows[:, 0] = random.choice(filters, height)
    return rows.tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("filters", [(0,), (1,), (2,), (3,), (4,), range(5)], ids=str)
def test_every_filter_is_undone_as_pillow_does(filters: Sequence[int], kind: str) -> None:
    random = np.random.default_rng(0)
    for size in ((1, 1), (1, 7), (5, 1), (7, 129), (600, 400)):
        # Small values are often equal, which the last filter decides by an order.
        for most, block in ((256, 2**16), (4, 50 if size[0] < 9 else 5000)):
            rows = rows_of(random, *size, filters, most, kind)
            expected, found, used = both(file_of(*size, rows, kind=kind, block=block))
            assert used
            assert found == expected
            assert expected[0] == kind


def test_a_page_is_the_same_image() -> None:
    page = Image.effect_mandelbrot((310, 440), (-2, -1, 1, 1), 40).convert("RGB")
    file = io.BytesIO()
    page.save(file, "PNG")
    expected, found, used = both(file.getvalue())
    assert used
    assert found == expected == ("RGB", page.tobytes())


def saved(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def test_other_kinds_are_left_to_pillow() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    files = [saved(image.convert(mode)) for mode in ("1", "I;16")]
    files += [saved(image.convert("P"), bits=4), saved(image.convert("L"), transparency=7, bits=2)]
    files.append(saved(image, save_all=True, append_images=[image.rotate(180)]))
    interlaced = file_of(8, 9, bytes(9 * 25))
    files.append(
        interlaced[:28] + b"\x01" + struct.pack(">I", zlib.crc32(interlaced[12:28] + b"\x01")) + interlaced[33:]
    )
    of_16_bits = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 9, 16, 2, 0, 0, 0))
    files.append(interlaced[:8] + of_16_bits + chunk(b"IDAT", zlib.compress(bytes(9 * 49))) + chunk(b"IEND", b""))
    for data in files:
        expected, found, used = both(data)
        assert not used
        assert found == expected


def test_what_comes_after_the_pixels_still_counts() -> None:
    """Transparency is laid on white, and an orientation after the pixels turns the image."""
    noise = np.random.default_rng(3).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(image, exif=exif, transparency=tuple(int(value) for value in noise[0, 0]))
    start = data.index(b"eXIf") - 4
    stop = start + 12 + struct.unpack(">I", data[start : start + 4])[0]
    end = data.index(b"IEND") - 4
    late = data[:start] + data[stop:end] + data[start:stop] + data[end:]
    assert both(late)[2]
    white = noise.copy()
    white[(noise == noise[0, 0]).all(axis=2)] = 255
    for file in (data, late):
        np.testing.assert_array_equal(np.asarray(load_image(file)), np.rot90(white, -1))


def test_an_image_needs_no_more_memory_than_with_pillow(tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(saved(Image.new("RGB", (2000, 5000), "red")))
    code = """
import resource, sys
from PIL import Image
from jina_embeddings.inputs import png
png.LOOP.compile()
def load(faster):
    image = Image.open(sys.argv[1])
    if faster:
        png.decode_faster(image)
        assert image.tile[0][0] != "zip"
    image.load()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(*[load(faster) for faster in (False, True)])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "red.png")], capture_output=True, text=True, check=True
    )
    by_pillow, faster = map(int, done.stdout.split())
    assert faster - by_pillow < 6_000  # kilobytes; the image has 40,000


def test_pillow_goes_on_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zlib_ng", None)
    png._register.cache_clear()
    monkeypatch.setattr(png, "LOOP", Compiled(png._loop, "Pillow", 1))
    png.LOOP.compile()
    data = saved(Image.new("RGB", (4, 4), "red"))
    expected, found, used = both(data)
    assert not used
    assert found == expected
