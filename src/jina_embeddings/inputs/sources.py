"""Opens an image source (a path, a URL, bytes, an array, a page of a PDF) as a PIL image of mode RGB.

A source is opened by its kind, as far as a `SourcePolicy` allows. One that can't be used raises ImageError with its
description, never with its contents.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
import stat
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import url2pathname

import numpy as np

from ..errors import ImageError
from .budget import PIXELS, Room
from .decoding import UnknownFormatError, array_image, decode_image, describe_source, rgb_image
from .fetching import fetch
from .pdf import PDF_PIXELS, pdf_page

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

ImageSource: TypeAlias = "Image.Image | NDArray[Any] | str | os.PathLike[str] | bytes | IO[bytes]"
"""A PIL image, an array, a path, `path.pdf#page=3`, a URL, a data URL, base64, an encoded file's bytes, or a file open
for reading bytes."""

# The header of a PDF is somewhere in its first bytes.
_PDF_HEADER_BYTES = 1024
_EXCLUDED = "{} are not read here, by the policy for image sources"
_PAGE = re.compile(r"(.*)#page=(\d{1,9})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SourcePolicy:
    """What an image source given by name may access. Pixels, bytes, data URLs and base64 are always allowed.

    paths: files of this machine, by path or file URL.
    urls: http and https.
    private_addresses: URLs whose host, or a redirect's, is in a loopback, private or link-local network.

    The default allows everything, which is for inputs of the program itself. For inputs of others use `CONTENTS_ONLY`,
    or `SourcePolicy(paths=False, private_addresses=False)`: otherwise they can read files of this machine and reach
    addresses of its network.
    """

    paths: bool = True
    urls: bool = True
    private_addresses: bool = True


ANY_SOURCE = SourcePolicy()
CONTENTS_ONLY = SourcePolicy(paths=False, urls=False, private_addresses=False)


def load_image(
    source: ImageSource,
    policy: SourcePolicy = ANY_SOURCE,
    room: Room | None = None,
    *,
    pdf_pixels: int = PDF_PIXELS,
    as_stored: bool = False,
) -> Image.Image:
    """Opens any source as a PIL image of mode RGB: the first frame, upright by EXIF, with transparency on white.

    PIL image: never modified; the same object is returned if it is RGB and upright already.
    array: (h, w), (h, w, 1), (h, w, 3), (h, w, 4), or channels first where only that fits; uint8, uint16,
        or floats from 0 to 1.
    str: a data URL, an http(s) URL, a path or file:// URL, `path.pdf#page=3` (pages count from 1), else
        base64 without a header.
    bytes, or a file open for reading bytes, which is read from its current position: an encoded image or a PDF.

    A PDF without `#page=` must have one page. Pages are rendered at 150 dpi, or at a lower dpi if a page would have
    more than `pdf_pixels`. 16-bit greyscale is scaled to 8 bits, not clipped. Images with more pixels than
    `MAX_DECODED_PIXELS`, or than Pillow's limit against decompression bombs, are refused before they are decoded.

    policy: what a str or a path object may access.
    room: takes the image's pixels before they are decoded, and keeps them; None gives them back at the end.
    as_stored: read images as the published model's code does: drop transparency instead of laying it on white, and
        don't apply the EXIF orientation.

    Raises:
        ImageError: the source can't be found, fetched or decoded; the policy excludes it; or the image is empty, too
            large, or over 200 times as long as wide.
        DependencyError: the source is a PDF, and pypdfium2 is not installed.
    """
    if room is None:
        with PIXELS.room() as own:
            return load_image(source, policy, own, pdf_pixels=pdf_pixels, as_stored=as_stored)
    return _Opener(describe_source(source), policy, room, pdf_pixels, as_stored).open(source)


@dataclass(frozen=True, slots=True)
class _Opener:
    """Opens one source; name: its description for messages. The other fields are the arguments of `load_image`."""

    name: str
    policy: SourcePolicy
    room: Room
    pdf_pixels: int
    as_stored: bool

    def open(self, source: object) -> Image.Image:
        """Opens the source by its type."""
        from PIL import Image

        if isinstance(source, Image.Image):
            return rgb_image(source, self.name, self.room, as_stored=self.as_stored)
        if isinstance(source, np.ndarray):
            return array_image(source, self.name, self.room, as_stored=self.as_stored)
        if isinstance(source, (bytes, bytearray, memoryview)):
            return self._bytes(bytes(source), None)
        if isinstance(source, str):
            return self._text(source)
        if isinstance(source, os.PathLike):
            self._require(self.policy.paths, "paths")
            return self._path(*_path_and_page(os.fsdecode(source)))
        if hasattr(source, "read"):
            return self._bytes(_read(source, self.name), None)
        raise ImageError(f"{self.name}: expected a PIL image, an array, a path, a URL, bytes or an open file")

    def _text(self, text: str) -> Image.Image:
        scheme = text[:8].lower()
        if scheme.startswith("data:"):
            return self._bytes(_data_of_url(text, self.name), None)
        if scheme.startswith(("http://", "https://")):
            self._require(self.policy.urls, "URLs")
            url, page = _url_and_page(text)
            return self._bytes(fetch(url, private_addresses=self.policy.private_addresses), page)
        if scheme.startswith("file://"):
            self._require(self.policy.paths, "paths")
            url, page = _url_and_page(text)
            return self._path(_path_of_url(url, self.name), page)
        if self.policy.paths:
            path, page = _path_and_page(text)
            if os.path.exists(path):
                return self._path(path, page)
        if "://" in text[:16]:
            raise ImageError(f"{self.name}: no such file, and of URLs only http, https, file and data are read")
        return self._text_of_base64(text)

    def _text_of_base64(self, text: str) -> Image.Image:
        missing = ImageError(
            f"{self.name}: no such file, nor an image in base64"
            if self.policy.paths
            else f"{self.name}: not an image in base64, and {_EXCLUDED.format('paths')}"
        )
        try:
            data = _base64("".join(text.split()).encode("ascii"))
        except ValueError:
            raise missing from None
        try:
            return self._bytes(data, None)
        except UnknownFormatError:
            raise missing from None

    def _path(self, path: str, page: int | None) -> Image.Image:
        try:
            mode = os.stat(path).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                # Opening a pipe blocks until somebody writes to it, and a device may never end.
                raise ImageError(f"{self.name}: a device, pipe or socket, not a file")
            with open(path, "rb") as file:
                if not path.lower().endswith(".pdf") and not _is_pdf(file.read(_PDF_HEADER_BYTES)):
                    _refuse_page(page, self.name)
                    file.seek(0)
                    return decode_image(file, self.name, self.room, as_stored=self.as_stored)
        except ImageError:
            raise
        except FileNotFoundError:
            raise ImageError(f"{self.name}: no such file") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ImageError(f"{self.name}: can't be read: {reason}") from error
        return pdf_page(path, page, self.name, self.room, max_pixels=self.pdf_pixels, many=True)

    def _bytes(self, data: bytes, page: int | None) -> Image.Image:
        if _is_pdf(data[:_PDF_HEADER_BYTES]):
            return pdf_page(data, page, self.name, self.room, max_pixels=self.pdf_pixels, many=True)
        _refuse_page(page, self.name)
        return decode_image(io.BytesIO(data), self.name, self.room, as_stored=self.as_stored)

    def _require(self, allowed: bool, what: str) -> None:
        if not allowed:
            raise ImageError(f"{self.name}: {_EXCLUDED.format(what)}")


def _read(file: Any, name: str) -> bytes:
    try:
        data: object = file.read()
    except Exception as error:  # any class may be a file object, and raise anything
        raise ImageError(f"{name}: can't be read: {error}") from error
    if not isinstance(data, bytes):
        raise ImageError(f"{name}: gives {type(data).__name__}, not bytes: open the file in binary mode")
    return data


def _path_and_page(text: str) -> tuple[str, int | None]:
    """Splits `#page=N` off a path, unless there is a file of that whole name."""
    return (text, None) if os.path.exists(text) else _url_and_page(text)


def _url_and_page(text: str) -> tuple[str, int | None]:
    match = _PAGE.fullmatch(text)
    return (text, None) if match is None else (match[1], int(match[2]))


def _path_of_url(url: str, name: str) -> str:
    try:
        return url2pathname(urlsplit(url).path)
    except ValueError as error:
        raise ImageError(f"{name}: not a URL: {error}") from None


def _data_of_url(url: str, name: str) -> bytes:
    header, comma, payload = url.partition(",")
    if not comma:
        raise ImageError(f"{name}: no comma before the data")
    try:
        data = unquote_to_bytes(payload)
    except UnicodeEncodeError as error:
        raise ImageError(f"{name}: not valid Unicode at character {error.start}") from None
    if not header.lower().endswith(";base64"):
        return data
    try:
        return _base64(b"".join(data.split()))
    except binascii.Error as error:
        raise ImageError(f"{name}: damaged base64: {error}") from None


def _base64(data: bytes) -> bytes:
    """Decodes base64, whose padding may be missing, as many programs leave it out. Raises binascii.Error."""
    digits = data.rstrip(b"=")
    return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)


def _is_pdf(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf\0\t\n\f\r ").startswith(b"%PDF-")


def _refuse_page(page: int | None, name: str) -> None:
    if page is not None:
        raise ImageError(f"{name}: only a PDF has pages")
