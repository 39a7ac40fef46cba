"""Limits on the size of images, and on the pixels that are in memory together."""

from __future__ import annotations

import resource
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jina_embeddings.errors import ImageError
from jina_embeddings.inputs.budget import PIXELS, PixelBudget
from jina_embeddings.inputs.sources import load_image


def png_without_pixels(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in ((b"IHDR", header), (b"IDAT", b""), (b"IEND", b"")):
        chunk = name + content
        data += struct.pack(">I", len(content)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (201, 1), (1, 201)])
def test_empty_and_very_long_images_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=f"{size[0]} x {size[1]}"):
        load_image(Image.new("RGB", size))


def test_a_decompression_bomb_is_an_error_with_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_without_pixels(20_000, 20_000))
    with pytest.raises(ImageError, match=r"bomb.png.*400000000.*178956970"):
        load_image(path)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_a_small_file_of_a_huge_image_takes_no_memory(mode: str, tmp_path: Path) -> None:
    """The size is one that Pillow itself would decode with a warning."""
    path = tmp_path / "bomb.png"
    Image.new(mode, (13_000, 10)).resize((10_100, 10)).save(path)
    data = bytearray(path.read_bytes())
    # The header says more rows than there are.
    data[20:24] = struct.pack(">I", 10_100)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match=r"10100 x 10100 = 102010000 pixels, at most 100000000"):
        load_image(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


def test_images_that_are_decoded_together_share_one_budget() -> None:
    """All threads share the pixel budget until their images are resized; an image above the budget runs alone."""
    budget = PixelBudget(100)
    held: list[int] = []
    most: list[int] = []
    lock = threading.Lock()

    def hold(num_pixels: int) -> None:
        with budget.room() as room:
            room.take(num_pixels)
            with lock:
                held.append(min(num_pixels, 100))
                most.append(sum(held))
            time.sleep(0.005)
            with lock:
                held.remove(min(num_pixels, 100))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(hold, [60, 30, 10, 100, 250, 1, 40] * 10))
    assert max(most) <= 100
    assert max(most) > 60


def test_room_is_given_back_after_an_image_that_can_not_be_decoded() -> None:
    for _ in range(3):
        with pytest.raises(ImageError):
            load_image(png_without_pixels(9_000, 9_000))
    with PIXELS.room() as room:
        room.take(PIXELS.total)


def test_pil_images_have_the_same_pixel_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    for source in (Image.new("RGB", (10, 11)), np.zeros((11, 10), np.uint8)):
        with pytest.raises(ImageError, match=r"10 x 11 = 110 pixels, at most 100"):
            load_image(source)
    assert load_image(Image.new("RGB", (5, 10))).size == (5, 10)
