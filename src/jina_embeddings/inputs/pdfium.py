"""PDFium's calls for one open document. PDFium is not thread-safe, so a process makes one of them at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Drawn:
    """A rendered page. buffer: rows of `stride` bytes, each with `width` times blue, green and red."""

    width: int
    height: int
    stride: int
    buffer: Any


class PdfError(Exception):
    """What PDFium says of a document or a page that it can't read."""


class OpenPdf:
    """A document; pages count from 1. All methods raise PdfError."""

    def __init__(self) -> None:
        self._document: Any = None

    def open(self, source: str | bytes) -> int:
        """Opens a path or a file's bytes, and returns the number of pages.

        Raises FileNotFoundError, and ImportError without pypdfium2.
        """
        from pypdfium2 import PdfDocument

        try:
            self._document = PdfDocument(source)
            self._document.init_forms()
            return len(self._document)
        except FileNotFoundError:
            raise
        except (RuntimeError, OSError, ValueError) as error:
            raise PdfError(str(error)) from error

    def size(self, number: int) -> tuple[float, float]:
        """Width and height in units of 1/72 inch."""
        with _told():
            size: tuple[float, float] = self._document[number - 1].get_size()
        return size

    def draw(self, number: int, scale: float) -> Drawn:
        """scale: pixels of a unit."""
        with _told():
            page = self._document[number - 1]
            bitmap = page.render(scale=scale)
            page.close()
        return Drawn(bitmap.width, bitmap.height, bitmap.stride, bitmap.buffer)

    def text(self, number: int) -> str:
        with _told():
            page = self._document[number - 1]
            text: str = page.get_textpage().get_text_bounded()
            page.close()
        return text

    def close(self) -> None:
        if self._document is not None:
            self._document.close()
        self._document = None


@contextmanager
def _told() -> Iterator[None]:
    from pypdfium2 import PdfiumError

    try:
        yield
    except PdfiumError as error:
        raise PdfError(str(error)) from error
