"""What runs in the processes that decode: images and PDF pages to pixels, in bounded memory.

A file from the network is opened here and nowhere else: what it does to a decoder ends one of these processes at worst.
"""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ImageError
from ..inputs.budget import PIXELS
from ..inputs.decoding import decode_image
from ..inputs.patches import ImageConfig, resize_image
from ..inputs.pdf import PDF_PIXELS, num_pdf_pages, pdf_page

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

FORMATS = ("GIF", "JPEG", "PNG", "WEBP")
MORE_BYTES = 256 * 2**20
"""What a decoder may take beside what it has when it starts."""


@dataclass(frozen=True, slots=True)
class Form:
    """What the model reads. as_stored: as for `load_image`."""

    config: ImageConfig
    as_stored: bool = False

    def resized(self, image: Image.Image) -> NDArray[np.uint8]:
        config = self.config
        return resize_image(image, factor=config.factor, min_pixels=config.min_pixels, max_pixels=config.max_pixels)


def start() -> None:
    """Once in each process: loads what decodes, and from then on bounds the memory, where the system can."""
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
    # An address space that is full ends some libraries by a signal; a core file of it would be as large.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def image_pixels(data: bytes, form: Form, max_pixels: int) -> NDArray[np.uint8]:
    """uint8 (height, width, 3) as the model reads it. max_pixels: of the image.

    Raises ImageError for what can't be decoded, or not in the memory that there is.
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
    """The pages of a PDF, each as `image_pixels` gives an image.

    Raises ImageError for a PDF that can't be rendered, or has more than that many pages.
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
