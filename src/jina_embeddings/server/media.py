"""Turns the images and PDFs of a request from base64 or URLs into pixels; other processes decode them."""

from __future__ import annotations

import asyncio
import binascii
import io
import re
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import imagesize
import pybase64

from ..errors import ImageError
from ..inputs.fetching import FetchRules, afetch
from ..inputs.pdf import PDF_PIXELS
from . import decoding
from .decoders import Decoders
from .limits import Claim, Limits
from .values import Item, data_of_url

if TYPE_CHECKING:
    from .decoding import Form

IMAGE_S, PDF_S = 10.0, 60.0
"""Time to decode one, after which its process is killed."""
FETCH_S = 10.0
_FETCHES = 8
"""Downloads at a time, of all requests; their bytes are in no budget until they have arrived."""

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
_HEADS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")


@dataclass(frozen=True, slots=True)
class UrlPolicy:
    """Which URLs of clients are fetched: those of `hosts`, or of all if None, but never private addresses."""

    hosts: frozenset[str] | None = frozenset()

    @property
    def rules(self) -> FetchRules | None:
        """The rules for `afetch`; None if nothing is fetched."""
        return None if self.hosts == frozenset() else FetchRules(hosts=self.hosts)


class Media:
    """Turns the inputs of a request into what `JinaEmbeddings.encode` takes. Used from one event loop."""

    def __init__(self, form: Form, limits: Limits, urls: UrlPolicy, decoders: Decoders):
        self._form, self._limits, self._rules = form, limits, urls.rules
        self._decoders = decoders
        self._fetches = asyncio.Semaphore(_FETCHES)

    async def opened(self, items: Sequence[Item], claim: Claim) -> list[dict[str, Any]]:
        """The inputs for `JinaEmbeddings.encode`: texts as they are, images and PDF pages as arrays.

        Raises:
            ImageError: an image or a PDF that can't be fetched or decoded.
            RequestError: more pixels than the budget has left.
        """
        if all(item.kind == "text" for item in items):
            return [{"text": item.value} for item in items]
        media = {index: item for index, item in enumerate(items) if item.kind != "text"}
        many = len(items) > 1
        read = await _gathered([_at(index, self._read(item, claim), many) for index, item in media.items()])
        claim.take_pixels(sum(num_pixels for _, num_pixels in read))
        files = zip(media.items(), read, strict=True)
        work = [_at(index, self._decoded(data, item), many) for (index, item), (data, _) in files]
        decoded = iter(await _gathered(work))
        opened: list[dict[str, Any]] = []
        for item in items:
            opened += [{"text": item.value}] if item.kind == "text" else [{"image": one} for one in next(decoded)]
        return opened

    def close(self) -> None:
        self._decoders.close()

    async def _read(self, item: Item, claim: Claim) -> tuple[bytes, int]:
        """The bytes of an image or a PDF, and the pixels that decoding them needs."""
        data = await self._data(item, claim)
        return data, self._num_pixels(data, item)

    async def _data(self, item: Item, claim: Claim) -> bytes:
        """The bytes of an image or a PDF. A string from a client is never taken for a path."""
        if _URL.match(item.value[:32]) and item.value[:5].lower() != "data:":
            if self._rules is None:
                raise ImageError("URLs are not fetched by this server: send base64 or a data URL")
            most = self._limits.max_body_bytes
            async with self._fetches:
                data = await afetch(item.value, rules=self._rules, timeout_s=FETCH_S, max_bytes=most)
                claim.take_bytes(len(data))
            return data
        body = data_of_url(item.value) or item.value
        try:
            data = pybase64.b64decode(body + "=" * (-len(body) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ImageError("an image or a PDF is neither base64 nor a data URL") from error
        if not data:
            raise ImageError("an image or a PDF is empty")
        return data

    def _num_pixels(self, data: bytes, item: Item) -> int:
        """The pixels that decoding needs, by the file's header; for a PDF those of one page, as only one is open."""
        if item.kind == "pdf":
            if not data[:1024].lstrip().startswith(b"%PDF-"):
                raise ImageError("a PDF begins with %PDF-, which this one doesn't")
            return max(PDF_PIXELS, self._form.config.max_pixels)
        if not data.startswith(_HEADS) and not (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
            raise ImageError(f"an image is none of {', '.join(decoding.FORMATS)}")
        try:
            width, height = imagesize.get(io.BytesIO(data), exif_rotation=False)
        except Exception as error:  # imagesize raises errors of many kinds for a damaged header
            raise ImageError("an image's size can't be read: its head is damaged") from error
        most = self._limits.max_image_pixels
        if width < 1 or height < 1:
            raise ImageError(f"an image of {width} x {height} pixels: there is nothing to see")
        if width * height > most:
            raise ImageError(f"an image of {width} x {height} pixels, at most {most} are taken: make it smaller")
        return int(width * height)

    async def _decoded(self, data: bytes, item: Item) -> list[Any]:
        if item.kind == "pdf":
            most = self._limits.max_pdf_pages
            return await self._decoders.run(decoding.pdf_pixels, data, self._form, most, timeout_s=PDF_S)
        most = self._limits.max_image_pixels
        return [await self._decoders.run(decoding.image_pixels, data, self._form, most, timeout_s=IMAGE_S)]


async def _at(index: int, work: Coroutine[Any, Any, Any], many: bool) -> Any:
    """Awaits it. many: there are other inputs, so that an error says which one is meant."""
    try:
        return await work
    except ImageError as error:
        raise (error.at(index) if many else error) from error


async def _gathered(work: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Awaits all of them; the first error cancels the others."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
