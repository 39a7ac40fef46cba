"""Whether a JPEG 2000 has all of its tiles: Pillow leaves them black where a file was cut between two."""

from __future__ import annotations

import struct
from collections import Counter
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

_CODESTREAM = b"\xff\x4f\xff\x51"
_SIZE, _TILE_PART = 0xFF51, 0xFF90
_MIN_PART_BYTES = 14


def check_tiles(image: Image.Image) -> None:
    """Raises OSError for an opened JPEG 2000 that is not loaded yet and lacks tiles, or parts of one."""
    from PIL import ImageFile

    file: Any = getattr(image, "fp", None)
    if image.format != "JPEG2000" or file is None or ImageFile.LOAD_TRUNCATED_IMAGES:
        return
    place = file.tell()
    try:
        _find_codestream(file)
        missing = _missing(file)
    except (struct.error, ZeroDivisionError):
        return  # Pillow knows better what is wrong with it
    finally:
        file.seek(place)
    if missing:
        raise OSError(f"image file is truncated ({missing} of its tiles are missing)")


def _find_codestream(file: IO[bytes]) -> None:
    """Moves to where the codestream starts: at once, or in a box (ISO/IEC 15444-1, annex I)."""
    file.seek(0)
    raw = file.read(4) == _CODESTREAM
    file.seek(0)
    while not raw:
        length, kind = struct.unpack(">I4s", file.read(8))
        header = 8
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
            header = 16
        if kind == b"jp2c":
            return
        if length < header:
            raise struct.error("a box without an end")
        file.seek(length - header, 1)


def _missing(file: IO[bytes]) -> int:
    """How many tiles of the codestream are not there, or lack parts (annex A)."""
    num_tiles = 0
    parts, announced = Counter[int](), dict[int, int]()
    start = file.tell()
    file.seek(2, 1)
    while len(head := file.read(4)) == 4:
        marker, length = struct.unpack(">HH", head)
        if marker == _SIZE:
            width, height, _, _, tile_width, tile_height, left, top = struct.unpack(">2x8I", file.read(34))
            num_tiles = -(-(width - left) // tile_width) * -(-(height - top) // tile_height)
            file.seek(length - 36, 1)
        elif marker == _TILE_PART:
            start = file.tell() - 4
            tile, num_bytes, _, of = struct.unpack(">HIBB", file.read(8))
            parts[tile] += 1
            announced[tile] = max(of, announced.get(tile, 0))
            if num_bytes < _MIN_PART_BYTES:
                break  # 0: to the end of the file
            file.seek(start + num_bytes)
        elif parts:
            break
        else:
            file.seek(length - 2, 1)
    return num_tiles - sum(parts[tile] >= count for tile, count in announced.items())
