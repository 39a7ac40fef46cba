"""Small pictures on white, as small files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import resvg_py
from PIL import Image

SIDE = 112
COLOURS = 16
DRAWING_DPI = 90  # of the programs that clip art was drawn with; for sizes in points and millimetres
FIELDS = (("image", pa.binary()), ("text", pa.string()), ("source", pa.string()), ("group", pa.string()))


@dataclass(frozen=True)
class Picture:
    """A square PNG and what it shows. Pictures of one `group` show the same thing."""

    image: bytes
    text: str
    source: str
    group: str


def from_svg(svg: str, colours: int = COLOURS, trim: bool = False) -> bytes | None:
    """The drawing, without the empty paper around it if `trim`, as a PNG; None if it is empty or no drawing."""
    width = 4 * SIDE if trim else SIDE
    try:
        rendered = resvg_py.svg_to_bytes(svg_string=svg, width=width, skip_system_fonts=True, dpi=DRAWING_DPI)
    except ValueError:
        return None
    with Image.open(io.BytesIO(rendered)) as image:
        return from_image(trimmed(image) if trim else image, colours)


def trimmed(image: Image.Image) -> Image.Image:
    """What is left without the transparent edges."""
    box = image.convert("RGBA").getchannel("A").getbbox()
    return image.crop(box) if box else image


def from_image(image: Image.Image, colours: int = COLOURS) -> bytes | None:
    """The picture in the middle of a white square of SIDE pixels with few colours; None if one colour is all it has."""
    image = image.convert("RGBA")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (SIDE, SIDE), "white")
    square.paste(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2), image)
    if np.ptp(np.asarray(square)) < 16:
        return None
    # Palettes of averaged colours turn a thin line grey on grey; the fastest method keeps black and white.
    small = square.quantize(colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(written := io.BytesIO(), "PNG", optimize=True)
    return written.getvalue()


def write(path: Path, pictures: list[Picture]) -> None:
    """Replaces the file in one step, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({name: pa.array([getattr(one, name) for one in pictures], kind) for name, kind in FIELDS})
    unfinished = path.with_name(path.name + ".part")
    pq.write_table(table, unfinished, compression="zstd", compression_level=9)
    unfinished.rename(path)
