"""Converts encoded bytes, arrays and PIL images of any mode to RGB images: upright, on white, with 8 bits a channel.

`name` is everywhere the description of the source that an error message starts with.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ..errors import ImageError
from .budget import MAX_DECODED_PIXELS, PIXELS, Room
from .icons import png_in_icon
from .jpeg2000 import check_tiles
from .png import decode_faster, load

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

MAX_ASPECT_RATIO = 200

# Pillow reads more, among them EPS, for which it would start Ghostscript on the input.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

_EXIF_ORIENTATION = 0x0112
_MAX_NAME = 120
# A transparent image is laid on white in bands of this many rows, so that only a band is in memory a third time.
_BAND_ROWS = 256


class UnknownFormatError(ImageError):
    """The bytes are in none of FORMATS. Users of the package see it as an ImageError."""


def describe_source(source: object) -> str:
    """A short name of a source for messages, without its contents and without a URL's password."""
    if isinstance(source, np.ndarray):
        return f"array {source.dtype} {source.shape}"
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"<{len(source)} bytes>"
    if isinstance(source, os.PathLike):
        source = os.fsdecode(source)
    if not isinstance(source, str):
        return f"<{type(source).__name__}>"
    if source[:5].lower() == "data:":
        return f"<data URL {source[5:45].partition(',')[0]} of {len(source)} characters>"
    shown = re.sub(r"(?<=://)[^/?#]*@", "", source)
    if len(shown) <= _MAX_NAME:
        return repr(shown)
    return f"{shown[: _MAX_NAME // 2]!r}... ({len(shown)} characters)"


def check_image_size(width: int, height: int, name: str, most: int | None = None) -> None:
    """Raises ImageError for an image without pixels, with too many, or with an extreme aspect ratio.

    most: the caller's limit of pixels; Pillow's limit holds too.
    """
    from PIL import Image

    if width < 1 or height < 1:
        raise ImageError(f"{name}: {width} x {height} pixels, nothing to see")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise ImageError(f"{name}: {width} x {height} pixels, over {MAX_ASPECT_RATIO} times as long as wide")
    # Pillow warns at its limit and raises at twice that.
    limits = [most, None if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS]
    limit = min((limit for limit in limits if limit is not None), default=None)
    if limit is not None and width * height > limit:
        raise ImageError(
            f"{name}: {width} x {height} = {width * height} pixels, at most {limit} are read: make it smaller"
        )


def decode_image(
    file: IO[bytes],
    name: str,
    room: Room | None = None,
    *,
    as_stored: bool = False,
    formats: Sequence[str] = FORMATS,
    max_pixels: int = MAX_DECODED_PIXELS,
) -> Image.Image:
    """The first frame of an encoded image as RGB. Its size is checked before anything is decoded.

    room, as_stored: as in `rgb_image`. formats: Pillow's names of those that are read.

    Raises:
        ImageError: the format is unknown, or the image is damaged or too large.
    """
    from PIL import Image, UnidentifiedImageError

    Image.init()
    try:
        icon = png_in_icon(file) if "ICO" in formats else None
        image = icon or Image.open(file, formats=[known for known in formats if known in Image.OPEN])
    except UnidentifiedImageError:
        raise UnknownFormatError(f"{name}: not an image that can be read ({', '.join(formats)})") from None
    except Exception as error:  # a damaged header makes Pillow's plugins raise nearly anything
        raise ImageError(f"{name}: {_reason(error)}") from error
    check_image_size(*image.size, name, max_pixels)
    decode_faster(image)
    return rgb_image(image, name, room, as_stored=as_stored)


def rgb_image(image: Image.Image, name: str, room: Room | None = None, *, as_stored: bool = False) -> Image.Image:
    """A PIL image of any mode as upright RGB: the same object if it is that already, which is never modified.

    room: takes the image's pixels before they are decoded, and keeps them; None gives them back at the end.
    as_stored: drop transparency instead of laying it on white, and don't apply the EXIF orientation.
    """
    check_image_size(*image.size, name)
    if room is None:
        with PIXELS.room() as own:
            return rgb_image(image, name, own, as_stored=as_stored)
    room.take(image.width * image.height)
    try:
        check_tiles(image)
        load(image)
        rgb = _opaque(image, name) if as_stored else _upright(_on_white(image, name), image)
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(
            f"{name}: {image.width} x {image.height} pixels don't fit in memory: make it smaller"
        ) from None
    except Exception as error:  # damaged data makes Pillow's decoders raise nearly anything
        raise ImageError(f"{name}: can't be decoded: {_reason(error)}") from error
    if rgb is not image:
        rgb.info = {}  # or orientation and transparency would be applied to the result again
    return rgb


def array_image(array: NDArray[Any], name: str, room: Room | None = None, *, as_stored: bool = False) -> Image.Image:
    """An array as an RGB image; shapes and dtypes as in `load_image`.

    room, as_stored: as in `rgb_image`.

    Raises:
        ImageError: the array has another shape or dtype, or values out of range.
    """
    from PIL import Image

    shape = array.shape
    channels = (1, 3, 4)
    if array.ndim == 3 and shape[2] not in channels and shape[0] in channels:
        array = array.transpose(1, 2, 0)
    elif array.ndim != 2 and not (array.ndim == 3 and shape[2] in channels):
        raise ImageError(f"{name}: expected shape (h, w), (h, w, 1), (h, w, 3) or (h, w, 4)")
    check_image_size(array.shape[1], array.shape[0], name)

    if array.dtype.newbyteorder("=") == np.uint16:
        array = _to_8_bits(array, 65535)
    elif np.issubdtype(array.dtype, np.floating):
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= 1):
            raise ImageError(f"{name}: values from {low} to {high}, floats must be from 0 to 1")
        array = _to_8_bits(array, 1)
    elif array.dtype != np.uint8:
        raise ImageError(f"{name}: expected uint8, uint16 or floats from 0 to 1")
    if array.shape[2:] == (1,):
        array = array[:, :, 0]
    return rgb_image(Image.fromarray(array), name, room, as_stored=as_stored)


def _on_white(image: Image.Image, name: str) -> Image.Image:
    """Converts any mode to RGB, with transparent parts over white."""
    from PIL import Image

    if image.mode == "F" or image.mode.startswith("I") or not image.has_transparency_data:
        return _opaque(image, name)
    # Many programs write screenshots and pages with transparency of which nothing is transparent.
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    canvas = Image.new("RGB", image.size, "white")
    for top in range(0, image.height, _BAND_ROWS):
        band = image.crop((0, top, image.width, min(top + _BAND_ROWS, image.height)))
        # Pillow can't convert La (premultiplied alpha) to RGBA directly.
        rgba = (band.convert("LA") if band.mode == "La" else band).convert("RGBA")
        canvas.paste(rgba, (0, top), mask=rgba)
    return canvas


def _opaque(image: Image.Image, name: str) -> Image.Image:
    """Converts any mode to RGB and drops transparency."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _grey_image(image, name)
    if image.mode == "La":
        image = image.convert("LA")
    elif image.mode == "RGBa":
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey_image(image: Image.Image, name: str) -> Image.Image:
    """Converts 16-bit, 32-bit and float greyscale to RGB.

    Pillow uses the modes I and F for values up to 1 (F only), 255 and 65535. White is taken to be the smallest of these
    that no value exceeds.
    """
    from PIL import Image

    values = np.asarray(image)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 65535):
        raise ImageError(f"{name}: grey values from {low} to {high}, expected 0 to 65535")
    white = 65535
    if not image.mode.startswith("I;16"):
        white = 1 if image.mode == "F" and high <= 1 else 255 if high <= 255 else 65535
    grey = _to_8_bits(values, white)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _to_8_bits(values: NDArray[Any], white: int) -> NDArray[np.uint8]:
    scaled: NDArray[np.float32] = np.multiply(values, 255 / white, dtype=np.float32)
    return np.rint(scaled).astype(np.uint8)


def _upright(rgb: Image.Image, original: Image.Image) -> Image.Image:
    """Applies the EXIF orientation of `original`, which must be loaded, as loading a TIFF applies its own."""
    from PIL import Image

    try:
        orientation = original.getexif().get(_EXIF_ORIENTATION)
    except Exception:  # damaged EXIF data is ignored, as by image viewers
        return rgb
    method = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation or 1)
    return rgb if method is None else rgb.transpose(method)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
