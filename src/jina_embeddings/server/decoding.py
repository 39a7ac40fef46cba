"""Runs in the processes of `decoders`: turns images and PDF pages into pixels, in bounded memory.

A file from a client is opened here and nowhere else, so that a malicious one ends such a process at worst.
"""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ImageError
from ..inputs.budget import PIXELS
from ..inputs.compiled import compile_nothing
from ..inputs.decoding import decode_image
from ..inputs.patches import ImageConfig, resize_image
from ..inputs.pdf import PDF_PIXELS, num_pdf_pages, pdf_page

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

FORMATS = ("GIF", "JPEG", "PNG", "WEBP")
MORE_BYTES = 256 * 2**20
"""Memory that a decoder may use on top of what it has when it starts."""


@dataclass(frozen=True, slots=True)
class Form:
    """How images are made for the model: resized by its config. as_stored: as for `load_image`."""

    config: ImageConfig
    as_stored: bool = False

    def resized(self, image: Image.Image) -> NDArray[np.uint8]:
        config = self.config
        return resize_image(image, factor=config.factor, min_pixels=config.min_pixels, max_pixels=config.max_pixels)


def start() -> None:
    """Prepares a process: imports the decoding libraries, and limits its memory where the system can."""
    # A compiler has no room in that memory.
    compile_nothing()
    import numpy as np
    from PIL import Image

    Image.init()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).resize((4, 4))
    with suppress(ImportError):
        import pypdfium2  # noqa: F401
    if sys.platform == "linux":
        _bound_memory()


def _bound_memory() -> None:
    import resource

    import psutil

    most = psutil.Process().memory_info().vms + MORE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    # Some libraries abort when the address space is full; the core file would be as large as that.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def image_pixels(data: bytes, form: Form, max_pixels: int) -> NDArray[np.uint8]:
    """Decodes an image and resizes it for the model: uint8 (height, width, 3). max_pixels: the most it may have itself.

    Raises ImageError if it can't be decoded, or needs more memory than there is.
    """
    name = f"an image of {len(data)} bytes"
    try:
        with PIXELS.room() as room:
            image = decode_image(
                io.BytesIO(data), name, room, as_stored=form.as_stored, formats=FORMATS, max_pixels=max_pixels
            )
            return form.resized(image)
    except MemoryError:
        raise ImageError(f"{name} doesn't fit in memory: make it smaller") from None


def pdf_pixels(data: bytes, form: Form, max_pages: int) -> list[NDArray[np.uint8]]:
    """Renders the pages of a PDF; each is like the result of `image_pixels`.

    Raises ImageError if the PDF can't be rendered, or has more pages than `max_pages`.
    """
    name = f"a PDF of {len(data)} bytes"
    try:
        count = num_pdf_pages(data)
        if not 1 <= count <= max_pages:
            raise ImageError(f"{name} has {count} pages, from 1 to {max_pages} are taken: send fewer at a time")
        pages = []
        for number in range(1, count + 1):
            page = pdf_page(data, number, name, max_pixels=max(PDF_PIXELS, form.config.max_pixels))
            pages.append(form.resized(page))
        return pages
    except MemoryError:
        raise ImageError(f"{name} doesn't fit in memory: send fewer pages") from None
