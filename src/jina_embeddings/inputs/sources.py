"""From whatever names or holds an image, a page of a PDF included, to a PIL image of mode RGB.

A source that can't be used raises ImageError with its description, never with its contents.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import url2pathname

import numpy as np

from ..errors import ImageError
from .decoding import UnknownFormatError, array_image, decode_image, describe_source, rgb_image
from .pdf import pdf_page

if TYPE_CHECKING:
    import ssl

    from numpy.typing import NDArray
    from PIL import Image

ImageSource: TypeAlias = "Image.Image | NDArray[Any] | str | os.PathLike[str] | bytes"
"""A PIL image, an array, a path, `path.pdf#page=3`, a URL, a data URL, base64, or an encoded file's bytes."""

FETCH_TIMEOUT_S = 20.0
MAX_FETCH_BYTES = 64 * 2**20

_PDF_HEAD = 1024
_PAGE = re.compile(r"(.*)#page=(\d{1,9})", re.DOTALL)


def load_image(source: ImageSource) -> Image.Image:
    """Any source as a PIL image of mode RGB: upright (EXIF), transparency on white, the first frame.

    PIL image: never modified; returned itself where it is RGB and upright already.
    array: (h, w), (h, w, 1), (h, w, 3), (h, w, 4), or channels first where only that fits; uint8, uint16,
        or floats from 0 to 1.
    str: a data URL, an http(s) URL, a path or file:// URL, `path.pdf#page=3` (pages count from 1), else
        base64 without a header.
    bytes: an encoded image or a PDF.

    A PDF without `#page=` must have one page; pages are rendered at 150 dpi. 16-bit grey is scaled to 8
    bits, not clipped. Pillow's limit against decompression bombs, 178,956,970 pixels, is an error here.

    Raises ImageError for a source that can't be found, fetched or decoded, that is empty, too large, or
    over 200 times as long as wide; DependencyError for a PDF without pypdfium2.
    """
    from PIL import Image

    name = describe_source(source)
    if isinstance(source, Image.Image):
        return rgb_image(source, name)
    if isinstance(source, np.ndarray):
        return array_image(source, name)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(source), None, name)
    if isinstance(source, str):
        return _from_text(source, name)
    if isinstance(source, os.PathLike):
        return _from_path(*_path_and_page(os.fsdecode(source)), name)
    raise ImageError(f"{name}: expected a PIL image, an array, a path, a URL or bytes")


def fetch(url: str, *, timeout_s: float = FETCH_TIMEOUT_S, max_bytes: int = MAX_FETCH_BYTES) -> bytes:
    """The body of an http(s) URL, redirects followed.

    timeout_s: for everything together, from the look-up of the name to the last byte.

    Raises ImageError, naming the URL, for a status other than 2xx, a body over `max_bytes`, a timeout, a
    connection that fails, and a redirect to another scheme.
    """
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    import httpx

    name = describe_source(url)
    # httpx's own timeouts start anew with every read; only a cancelled task ends in time. It gets a thread
    # of its own, because the caller's may be running an event loop already.
    with ThreadPoolExecutor(1, thread_name_prefix="fetch") as thread:
        try:
            return thread.submit(lambda: asyncio.run(_download(url, name, timeout_s, max_bytes))).result()
        except TimeoutError:
            raise ImageError(f"{name}: not received within {timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ImageError(f"{name}: {str(error) or type(error).__name__}") from error


async def _download(url: str, name: str, timeout_s: float, max_bytes: int) -> bytes:
    import asyncio

    import httpx

    # The body is taken as sent: a small compressed one could grow past any limit on its way here.
    headers = {"accept-encoding": "identity", "user-agent": "jina-embeddings-vllm"}

    async def body() -> bytes:
        async with (
            httpx.AsyncClient(verify=_ssl_context(), timeout=None, follow_redirects=True) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            if not response.is_success:
                status = f"{response.status_code} {response.reason_phrase}".strip()
                raise ImageError(f"{name}: HTTP status {status}")
            received = bytearray()
            async for chunk in response.aiter_raw():
                received += chunk
                if len(received) > max_bytes:
                    raise ImageError(f"{name}: over {max_bytes} bytes, the most that is fetched")
            return bytes(received)

    return await asyncio.wait_for(body(), timeout_s)


@cache
def _ssl_context() -> ssl.SSLContext:
    """Loading the certificates takes longer than many a download."""
    import httpx

    return httpx.create_ssl_context()


def _from_text(text: str, name: str) -> Image.Image:
    scheme = text[:8].lower()
    if scheme.startswith("data:"):
        return _from_bytes(_data_of_url(text, name), None, name)
    if scheme.startswith(("http://", "https://")):
        url, page = _path_and_page(text)
        return _from_bytes(fetch(url), page, name)
    if scheme.startswith("file://"):
        url, page = _path_and_page(text)
        return _from_path(url2pathname(urlsplit(url).path), page, name)
    path, page = _path_and_page(text)
    if os.path.exists(path):
        return _from_path(path, page, name)
    if "://" in text[:16]:
        raise ImageError(f"{name}: no such file, and of URLs only http, https, file and data are read")
    missing = ImageError(f"{name}: no such file, nor an image in base64")
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise missing from None
    try:
        return _from_bytes(data, None, name)
    except UnknownFormatError:
        raise missing from None


def _path_and_page(text: str) -> tuple[str, int | None]:
    """Splits `#page=N` off, unless a file is called that."""
    match = _PAGE.fullmatch(text)
    return (text, None) if match is None or os.path.exists(text) else (match[1], int(match[2]))


def _data_of_url(url: str, name: str) -> bytes:
    header, comma, payload = url.partition(",")
    if not comma:
        raise ImageError(f"{name}: no comma before the data")
    data = unquote_to_bytes(payload)
    if not header.lower().endswith(";base64"):
        return data
    digits = b"".join(data.split()).rstrip(b"=")
    try:
        return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except binascii.Error as error:
        raise ImageError(f"{name}: damaged base64: {error}") from None


def _from_path(path: str, page: int | None, name: str) -> Image.Image:
    try:
        with open(path, "rb") as file:
            if not path.lower().endswith(".pdf") and not _is_pdf(file.read(_PDF_HEAD)):
                _refuse_page(page, name)
                file.seek(0)
                return decode_image(file, name)
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{name}: can't be read: {getattr(error, 'strerror', None) or error}") from error
    return pdf_page(path, page, name)


def _from_bytes(data: bytes, page: int | None, name: str) -> Image.Image:
    if _is_pdf(data[:_PDF_HEAD]):
        return pdf_page(data, page, name)
    _refuse_page(page, name)
    return decode_image(io.BytesIO(data), name)


def _is_pdf(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf\0\t\n\f\r ").startswith(b"%PDF-")


def _refuse_page(page: int | None, name: str) -> None:
    if page is not None:
        raise ImageError(f"{name}: only a PDF has pages")
