"""The bytes of a file as text: in UTF-8, in what its byte order mark says, or in the encoding that it declares."""

from __future__ import annotations

import codecs
import gzip
import zlib
from typing import IO

from ..errors import InputError
from .rows import NothingInsideError

MAX_TEXT_BYTES = 16 * 2**20
"""Of a text file, which is held in memory whole; the model reads 32,768 tokens of it at most."""

_PACKED = ".gz"

# The mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def encoding_of_mark(data: bytes) -> str | None:
    """The encoding whose byte order mark a file begins with."""
    return next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)


def read_bytes(path: str) -> bytes:
    """A file of text, whole. Raises InputError for a larger one than is read, OSError."""
    try:
        with open_unpacked(path) as file:
            data = file.read(MAX_TEXT_BYTES + 1)
    except (EOFError, zlib.error) as error:
        raise InputError(f"a broken .gz: {error}") from error
    if len(data) > MAX_TEXT_BYTES:
        raise too_long()
    return data


def unpacked_name(path: str) -> str:
    """In lower case, without what says that it is packed."""
    return path.lower().removesuffix(_PACKED)


def open_unpacked(path: str) -> IO[bytes]:
    """The bytes of a file, or of what is packed in it. Raises OSError; reading may raise EOFError and zlib.error."""
    if path.lower().endswith(_PACKED):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return open(path, "rb")


def too_long() -> InputError:
    return InputError(f"over {MAX_TEXT_BYTES >> 20} MiB of text: cut it into the lines of a .jsonl")


def binary() -> NothingInsideError:
    return NothingInsideError("binary, and neither an image nor a PDF: give the text that is in it")


def decode(data: bytes, declared: str | None = None) -> str:
    """A file's text, lines ended by `\\n`.

    declared: Python's name of the encoding that the file says it is in.

    Raises InputError for what is not text in that encoding.
    """
    mark = encoding_of_mark(data)
    encoding = mark or declared or "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if mark is None and b"\0" in data:
            raise binary() from None
        raise InputError(f"not {encoding.upper()} at byte {error.start}: convert it") from None
    if "\0" in text:
        raise binary()
    return text.removeprefix("\ufeff").replace("\r\n", "\n")
