"""Pages of a PDF as PIL images and as text, by pypdfium2 (the extra `pdf`)."""

from __future__ import annotations

import math
import os
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import DependencyError, ImageError, InputError
from .budget import MAX_DECODED_PIXELS, PIXELS, Room
from .decoding import check_image_size, describe_source

if TYPE_CHECKING:
    from PIL import Image

PdfSource: TypeAlias = "str | os.PathLike[str] | bytes"

PDF_DPI = 150
PDF_PIXELS = 16 * 602_112
"""Most pixels of a page at `PDF_DPI`, sixteen times what the model sees of it; a larger page is rendered at fewer dots
an inch. An A2 page has fewer."""
_UNITS_PER_INCH = 72
# Of a PDF that can't be opened, in search of why: one without pages is small.
_MAX_SCANNED_BYTES = 2**20

# PDFium is not thread-safe. Reentrant, since a generator may be finalised in the thread that holds it.
_pdfium = threading.RLock()


def num_pdf_pages(source: PdfSource) -> int:
    """Pages of the PDF at a path or in bytes. Raises ImageError and DependencyError as `pdf_pages` does."""
    with closing(_Document(source, describe_source(source))) as document:
        return document.num_pages


def pdf_pages(source: PdfSource, *, dpi: float = PDF_DPI) -> Iterator[Image.Image]:
    """Renders the pages of a PDF in turn, each when it is asked for: RGB, filled-in form fields included.

    source: a path or the file's bytes. dpi: pixels per inch, of which a PDF has 72 units.

    Raises at the first page: InputError for a dpi that isn't a number over 0, ImageError for a missing,
    broken or encrypted PDF, DependencyError without pypdfium2. A page too large at this dpi raises
    ImageError at its turn.
    """
    name = describe_source(source)
    if not (dpi > 0 and math.isfinite(dpi)):
        raise InputError(f"dpi is {dpi}, expected a number over 0")
    with closing(_Document(source, name)) as document:
        for number in range(1, document.num_pages + 1):
            with PIXELS.room() as room:
                image = document.render(number, dpi, room)
            yield image


def pdf_texts(source: PdfSource) -> Iterator[str | ImageError]:
    """The text of each page in turn, lines ended by `\\n`; empty for a page that is only a picture, and the error
    for one that can't be read. Raises at the first page as `pdf_pages` does."""
    with closing(_Document(source, describe_source(source))) as document:
        for number in range(1, document.num_pages + 1):
            try:
                text = document.text(number)
            except ImageError as error:
                yield error
            else:
                yield text


def pdf_page(
    source: PdfSource, number: int | None, name: str, room: Room | None = None, *, max_pixels: int = PDF_PIXELS
) -> Image.Image:
    """Page `number`, from 1, at 150 dpi; the only page for None.

    room: for the pixels, taken and left taken; without one it is given back at the end.
    max_pixels: a page that would have more is rendered at fewer dots an inch.

    Raises as `pdf_pages` does, and ImageError for a page that isn't there or, without a number, for several pages.
    """
    if room is None:
        with PIXELS.room() as own:
            return pdf_page(source, number, name, own, max_pixels=max_pixels)
    with closing(_Document(source, name)) as document:
        if document.num_pages == 0:
            raise ImageError(f"{name}: a PDF without pages")
        if number is None and document.num_pages != 1:
            raise ImageError(
                f"{name}: a PDF of {document.num_pages} pages: add #page=N to its path for one of them, or"
                " use pdf_pages for all"
            )
        if number is not None and not 1 <= number <= document.num_pages:
            raise ImageError(f"{name}: no page {number} in a PDF of {document.num_pages}")
        return document.render(number or 1, PDF_DPI, room, max_pixels=max_pixels)


class _Document:
    """An open PDF, one PDFium call at a time in the whole process."""

    def __init__(self, source: PdfSource, name: str):
        try:
            from pypdfium2 import PdfDocument, PdfiumError
        except ImportError:
            install = "pip install 'jina-embeddings-vllm[pdf]'"
            raise DependencyError(f"{name}: pypdfium2 is needed for a PDF: {install}") from None

        self.name, self._error = name, PdfiumError
        path_or_data = os.fsdecode(source) if isinstance(source, (str, os.PathLike)) else bytes(source)
        try:
            with _pdfium:
                self._document: Any = PdfDocument(path_or_data)
                self._document.init_forms()
                self.num_pages = len(self._document)
        except FileNotFoundError:
            raise ImageError(f"{name}: no such file") from None
        except (PdfiumError, OSError, ValueError) as error:
            if _says_no_pages(path_or_data):
                # PDFium calls it broken, or says that a password is missing.
                raise ImageError(f"{name}: a PDF without pages") from error
            raise ImageError(f"{name}: a broken or encrypted PDF: {error}") from error

    def render(self, number: int, dpi: float, room: Room, *, max_pixels: int | None = None) -> Image.Image:
        name, scale = f"{self.name}, page {number} at {dpi:g} dpi", dpi / _UNITS_PER_INCH
        try:
            with _pdfium:
                page = self._document[number - 1]
                sides = page.get_size()
            if max_pixels is not None and math.prod(math.ceil(side * scale) for side in sides) > max_pixels:
                scale = math.sqrt(max_pixels / math.prod(sides))
            width, height = (math.ceil(side * scale) for side in sides)
            check_image_size(width, height, name, MAX_DECODED_PIXELS)
            # Before the lock: who waits for room must not keep those from rendering who have some.
            room.take(width * height)
            with _pdfium:
                image: Image.Image = page.render(scale=scale).to_pil().convert("RGB")
                page.close()
        except self._error as error:
            raise ImageError(f"{name}: can't be rendered: {error}") from error
        return image

    def text(self, number: int) -> str:
        with _pdfium:
            try:
                page = self._document[number - 1]
                text: str = page.get_textpage().get_text_bounded()
                page.close()
            except self._error as error:
                raise ImageError(f"{self.name}, page {number}: its text can't be read: {error}") from error
        return text.replace("\r\n", "\n")

    def close(self) -> None:
        with _pdfium:
            self._document.close()


def _says_no_pages(source: str | bytes) -> bool:
    """Whether a PDF that PDFium refuses is one of no pages, as far as its plain objects tell."""
    if isinstance(source, str):
        try:
            with open(source, "rb") as file:
                source = file.read(_MAX_SCANNED_BYTES)
        except OSError:
            return False
    objects = source[:_MAX_SCANNED_BYTES]
    return b"/Encrypt" not in objects and re.search(rb"/Count\s+0\b", objects) is not None
