"""PNG files of any kind, whole and damaged, and what each decoder makes of them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from jina_embeddings.inputs import png

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Of each number that PNG has for a kind of image."""
BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Each pass of an interlaced image: its first column and row, and the steps between them.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
DAMAGES = (
    *("none", "cut", "crc", "no IDAT", "empty IDAT", "unknown chunk", "data behind IEND", "bytes behind the rows"),
    *("unknown filter", "rows missing", "bytes missing", "compressed data cut", "checksum", "two streams"),
    *("small palette", "tRNS"),
)


def by(image: Image.Image) -> tuple[str, bytes]:
    """Mode and pixels of an opened image; that it is damaged, and no pixels, if it is."""
    try:
        png.load(image)
    except Exception:
        return "damaged", b""
    return image.mode, image.tobytes()


def both(data: bytes) -> tuple[tuple[str, bytes], tuple[str, bytes], bool]:
    """What Pillow makes of a file, what the faster decoder does, and whether it was the one that did."""
    faster = Image.open(io.BytesIO(data))
    png.decode_faster(faster)
    used = any(tile[0] != "zip" for tile in faster.tile)
    return by(Image.open(io.BytesIO(data))), by(faster), used


def chunk(name: bytes, data: bytes, wrong: int = 0) -> bytes:
    """wrong: bits of the checksum that are turned."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data) ^ wrong)


def rows_of(
    random: np.random.Generator, width: int, height: int, colour: int, bits: int, *, interlaced: bool
) -> bytearray:
    """Rows of noise with any filter."""
    rows = bytearray()
    for x, y, step_x, step_y in PASSES if interlaced else ((0, 0, 1, 1),):
        columns, num_rows = len(range(x, width, step_x)), len(range(y, height, step_y))
        if columns:
            part = random.integers(0, 256, (num_rows, 1 + -(-columns * CHANNELS[colour] * bits // 8)), dtype=np.uint8)
            part[:, 0] = random.integers(0, 5, num_rows)
            rows += part.tobytes()
    return rows


def damaged(random: np.random.Generator, damage: str) -> bytes:
    """A file of a random kind, size and cut into chunks, with one of `DAMAGES`."""
    colour = int(random.choice(list(CHANNELS)))
    plain = random.random() < 0.5  # of the kind that has a faster decoder
    bits = 8 if plain else int(random.choice(BITS[colour]))
    interlaced = not plain and random.random() < 0.5
    width, height = int(random.integers(1, 40)), int(random.integers(1, 60))
    rows = rows_of(random, width, height, colour, bits, interlaced=interlaced)
    if damage == "unknown filter":
        rows[int(random.integers(0, height)) * (1 + -(-width * CHANNELS[colour] * bits // 8)) % len(rows)] = 5
    elif damage == "rows missing":
        del rows[int(random.integers(0, len(rows))) :]
    elif damage == "bytes missing":
        del rows[-int(random.integers(1, 5)) :]
    elif damage == "bytes behind the rows":
        rows += bytes(int(random.integers(1, 300)))
    data = _compressed(random, bytes(rows), damage)
    palette = random.bytes(3 * (int(random.integers(1, 20)) if damage == "small palette" else 256))
    transparent = random.bytes({0: 2, 2: 6}.get(colour, int(random.integers(0, 257))))
    block = int(random.choice([1, 9, 100, 2**16]))
    blocks = [
        chunk(b"IDAT", data[at : at + block], int(damage == "crc" and random.random() < 0.5))
        for at in range(0, len(data), block)
    ]
    if damage == "no IDAT":
        blocks.clear()
    odd = {"empty IDAT": chunk(b"IDAT", b""), "unknown chunk": chunk(b"abCd", b"xx", int(random.integers(0, 2)))}
    if damage in odd:
        blocks.insert(int(random.integers(0, len(blocks) + 1)), odd[damage])
    chunks = [
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)),
        chunk(b"PLTE", palette) if colour == 3 else b"",
        chunk(b"tRNS", transparent) if damage == "tRNS" else b"",
        *blocks,
        chunk(b"IEND", b""),
    ]
    file = SIGNATURE + b"".join(chunks)
    if damage == "data behind IEND":
        return file + random.bytes(50)
    return file[: int(random.integers(40, len(file)))] if damage == "cut" else file


def _compressed(random: np.random.Generator, rows: bytes, damage: str) -> bytes:
    level, at = int(random.integers(0, 10)), int(random.integers(0, len(rows) + 1))
    if damage == "two streams":
        return zlib.compress(rows[:at], level) + zlib.compress(rows[at:], level)
    data = zlib.compress(rows, level)
    if damage == "checksum":
        return data[:-4] + bytes(4)
    return data[: int(random.integers(0, len(data)))] if damage == "compressed data cut" else data
