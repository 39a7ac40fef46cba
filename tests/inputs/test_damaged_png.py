"""A damaged PNG is the same image, or the same error, whichever decoder it meets."""

from __future__ import annotations

import io
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from jina_embeddings.errors import ImageError
from jina_embeddings.inputs import png
from jina_embeddings.inputs.compiled import Compiled
from jina_embeddings.inputs.sources import load_image
from png_files import BITS, CHANNELS, DAMAGES, SIGNATURE, both, chunk, damaged, rows_of

NUM_FILES = 80
WHOLE = {"none", "crc", "empty IDAT", "data behind IEND", "bytes behind the rows", "small palette", "tRNS"}
"""Damages that cost no pixel."""
BROKEN = {"no IDAT", "rows missing"}


@pytest.fixture(scope="module")
def compiled() -> None:
    pytest.importorskip("numba")
    pytest.importorskip("zlib_ng")
    png.LOOP.compile()
    assert png.LOOP.use() is not None


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("damage", DAMAGES)
def test_each_decoder_comes_to_the_same_result(damage: str) -> None:
    random = np.random.default_rng(DAMAGES.index(damage))
    outcomes: Counter[tuple[bool, bool]] = Counter()
    for _ in range(NUM_FILES):
        data = damaged(random, damage)
        try:
            expected, found, used = both(data)
        except Exception:
            continue  # Pillow can't open it, before any decoder
        assert found == expected
        outcomes[expected[0] == "damaged", used] += 1
    num_whole = sum(count for (is_damaged, _), count in outcomes.items() if not is_damaged)
    assert outcomes.total() > NUM_FILES / 3
    assert damage == "no IDAT" or sum(count for (_, used), count in outcomes.items() if used) > NUM_FILES / 8
    if damage in WHOLE:
        assert num_whole == outcomes.total()
    if damage in BROKEN:
        assert num_whole == 0


def kinds() -> list[tuple[int, int, bool]]:
    return [(colour, bits, interlaced) for colour in CHANNELS for bits in BITS[colour] for interlaced in (False, True)]


def short_of(colour: int, bits: int, *, interlaced: bool, missing: int) -> bytes:
    """A file whose compressed data are whole, and end some bytes before the rows do."""
    rows = rows_of(np.random.default_rng(0), 13, 9, colour, bits, interlaced=interlaced)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 13, 9, bits, colour, 0, 0, interlaced))
    palette = chunk(b"PLTE", bytes(range(256)) * 3) if colour == 3 else b""
    data = zlib.compress(rows[: len(rows) - missing])
    return SIGNATURE + head + palette + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("colour", "bits", "interlaced"), kinds())
def test_missing_rows_are_an_error_whatever_the_kind(
    colour: int, bits: int, interlaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By Pillow's decoder, as of the first images of a process. It leaves whole rows that are missing black.
    monkeypatch.setattr(png, "LOOP", Compiled(png._loop, "Pillow"))
    load_image(short_of(colour, bits, interlaced=interlaced, missing=0))
    row_bytes = 1 + -(-13 * CHANNELS[colour] * bits // 8)
    for missing in (1, row_bytes, 2 * row_bytes, 4 * row_bytes):
        with pytest.raises(ImageError, match=r"truncated \(\d+ bytes"):
            load_image(short_of(colour, bits, interlaced=interlaced, missing=missing))


def test_an_opened_image_of_pillow_is_held_to_the_same_each_time() -> None:
    image = Image.open(io.BytesIO(short_of(2, 8, interlaced=False, missing=40)))
    for _ in range(2):
        with pytest.raises(ImageError, match="can't be decoded"):
            load_image(image)


def test_who_wants_truncated_images_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert load_image(short_of(2, 8, interlaced=False, missing=40)).size == (13, 9)


def test_an_animation_is_read_to_its_first_frame(tmp_path: Path) -> None:
    noise = Image.effect_noise((20, 20), 90)
    noise.save(tmp_path / "a.png", save_all=True, append_images=[noise.rotate(90)])
    assert load_image(tmp_path / "a.png").tobytes() == noise.convert("RGB").tobytes()
