"""Pages of a PDF as PIL images and as text, by pypdfium2 (the extra `pdf`)."""

from __future__ import annotations

import math
import os
import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from typing import TYPE_CHECKING, TypeAlias

from ..errors import DependencyError, ImageError, InputError
from .budget import MAX_DECODED_PIXELS, PIXELS, Room
from .decoding import check_image_size, describe_source
from .pdfium import OpenPdf, PdfError
from .renderers import RENDERERS, Renderer, RendererEndedError

if TYPE_CHECKING:
    from PIL import Image

PdfSource: TypeAlias = "str | os.PathLike[str] | bytes"

PDF_DPI = 150
PDF_PIXELS = 16 * 602_112
"""The most pixels of a rendered page, sixteen times what the model sees; larger pages are rendered at a lower dpi. An
A2 page at `PDF_DPI` has fewer."""
_UNITS_PER_INCH = 72
# The longest side of a page that the format knows, in units.
_MAX_SIDE = 14_400
# How many bytes of a PDF that can't be opened are searched for its number of pages; a PDF without pages is small.
_MAX_SCANNED_BYTES = 2**20

# PDFium is not thread-safe. Reentrant, since a generator of pages may be finalised in the thread that holds the lock.
_pdfium = threading.RLock()


def num_pdf_pages(source: PdfSource) -> int:
    """The number of pages of a PDF, given as a path or bytes. Raises ImageError and DependencyError as `pdf_pages`."""
    with closing(_Document(_path_or_data(source), describe_source(source))) as document:
        return document.num_pages


def pdf_pages(source: PdfSource, *, dpi: float = PDF_DPI) -> Iterator[Image.Image]:
    """Yields the rendered pages of a PDF as RGB images, with the contents of form fields.

    source: a path or the file's bytes.
    dpi: pixels per inch.

    Raises:
        InputError: dpi is not a number above 0.
        ImageError: the PDF is missing, broken or encrypted; or, when its turn comes, a page is too large at this dpi.
        DependencyError: pypdfium2 is not installed.
    """
    name = describe_source(source)
    if not (dpi > 0 and math.isfinite(dpi)):
        raise InputError(f"dpi is {dpi}, expected a number over 0")
    with closing(_Document(_path_or_data(source), name)) as document:
        for number in range(1, document.num_pages + 1):
            with PIXELS.room() as room:
                image = document.render(number, dpi, room)
            yield image


def pdf_texts(source: PdfSource) -> Iterator[str | ImageError]:
    """Yields the text of each page, with lines ended by `\\n`: empty for a scanned page, an error if it can't be read.

    Raises at the first page as `pdf_pages` does.
    """
    with closing(_Document(_path_or_data(source), describe_source(source))) as document:
        for number in range(1, document.num_pages + 1):
            try:
                text = document.text(number)
            except ImageError as error:
                yield error
            else:
                yield text


def pdf_page(
    source: PdfSource,
    number: int | None,
    name: str,
    room: Room | None = None,
    *,
    max_pixels: int = PDF_PIXELS,
    many: bool = False,
) -> Image.Image:
    """Renders page `number` (from 1) at 150 dpi; None renders the only page of a PDF with one page.

    room: takes the page's pixels, and keeps them; None gives them back at the end.
    max_pixels: the most pixels of the rendered page; a larger one is rendered at a lower dpi.
    many: one of so many that other processes may render it.

    Raises as `pdf_pages` does, and ImageError if there is no such page or, without a number, more than one.
    """
    if room is None:
        with PIXELS.room() as own:
            return pdf_page(source, number, name, own, max_pixels=max_pixels, many=many)
    given = _path_or_data(source)
    if not many:
        return _page(given, number, name, room, max_pixels)
    # A process may end, or be stopped, for another reason than the page.
    for _ in range(2):
        try:
            with RENDERERS.place(given) as renderer:
                return _page(given, number, name, room, max_pixels, renderer)
        except RendererEndedError as error:
            what = "takes too long to render" if error.timed_out else "ends the process that renders it"
            # Or threads with processes wait for room, and this one for a process.
            room.give_back()
    raise ImageError(f"{name}: {what}")


def _page(
    source: str | bytes, number: int | None, name: str, room: Room, max_pixels: int, renderer: Renderer | None = None
) -> Image.Image:
    with closing(_Document(source, name, renderer)) as document:
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


def _path_or_data(source: PdfSource) -> str | bytes:
    return os.fsdecode(source) if isinstance(source, (str, os.PathLike)) else bytes(source)


class _Document:
    """An open PDF. renderer: where; None for this process, in which PDFium is called under a lock."""

    def __init__(self, source: str | bytes, name: str, renderer: Renderer | None = None):
        self.name = name
        self._pdf: OpenPdf | Renderer = renderer or OpenPdf()
        self._lock: AbstractContextManager[object] = _pdfium if renderer is None else nullcontext()
        try:
            with self._lock:
                self.num_pages = self._pdf.open(source)
        except ImportError:
            install = "pip install 'jina-embeddings-vllm[pdf]'"
            raise DependencyError(f"{name}: pypdfium2 is needed for a PDF: {install}") from None
        except FileNotFoundError:
            raise ImageError(f"{name}: no such file") from None
        except PdfError as error:
            if _says_no_pages(source):
                # PDFium's message says that it is broken, or that a password is missing.
                raise ImageError(f"{name}: a PDF without pages") from error
            raise ImageError(f"{name}: a broken or encrypted PDF: {error}") from error

    def render(self, number: int, dpi: float, room: Room, *, max_pixels: int | None = None) -> Image.Image:
        from PIL import Image

        name, scale = f"{self.name}, page {number} at {dpi:g} dpi", dpi / _UNITS_PER_INCH
        try:
            with self._lock:
                sides = self._pdf.size(number)
            if max(sides) > _MAX_SIDE:
                raise ImageError(f"{name}: a page of {sides[0]:.0f} x {sides[1]:.0f} units, {_MAX_SIDE} are the most")
            if max_pixels is not None and math.prod(math.ceil(side * scale) for side in sides) > max_pixels:
                scale = math.sqrt(max_pixels / math.prod(sides))
            width, height = (math.ceil(side * scale) for side in sides)
            check_image_size(width, height, name, MAX_DECODED_PIXELS)
            # Before the lock is taken: a thread that waits for room must not keep others from rendering.
            room.take(width * height)
            with self._lock:
                page = self._pdf.draw(number, scale)
        except PdfError as error:
            raise ImageError(f"{name}: can't be rendered: {error}") from error
        # This copies, so the buffer may be written to again.
        return Image.frombuffer("RGB", (page.width, page.height), page.buffer, "raw", "BGR", page.stride, 1)

    def text(self, number: int) -> str:
        assert isinstance(self._pdf, OpenPdf)
        with self._lock:
            try:
                text = self._pdf.text(number)
            except PdfError as error:
                raise ImageError(f"{self.name}, page {number}: its text can't be read: {error}") from error
        return text.replace("\r\n", "\n")

    def close(self) -> None:
        with self._lock:
            self._pdf.close()


def _says_no_pages(source: str | bytes) -> bool:
    """Whether a PDF that PDFium can't open has no pages, as far as its uncompressed objects tell."""
    if isinstance(source, str):
        try:
            with open(source, "rb") as file:
                source = file.read(_MAX_SCANNED_BYTES)
        except OSError:
            return False
    objects = source[:_MAX_SCANNED_BYTES]
    return b"/Encrypt" not in objects and re.search(rb"/Count\s+0\b", objects) is not None
