"""Makes standard input, output and error usable if they are closed, full, or in an encoding that lacks characters."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from contextlib import suppress
from typing import TextIO

from ..errors import InputError

_ESCAPED = "jina_embeddings.escaped"


def open_streams() -> None:
    """Opens the streams that are closed, and has characters escaped. To be called before any file is opened.

    A closed stream becomes the null device. Otherwise the next file that is opened would get its descriptor, and
    libraries would print into that file. Characters that a stream's encoding lacks are written as JSON escapes, so that
    JSON stays valid.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor, which is this one
    sys.stdin = sys.stdin or _opened(0, "r")
    sys.stdout = sys.stdout or _opened(1, "w")
    sys.stderr = sys.stderr or _opened(2, "w")
    codecs.register_error(_ESCAPED, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPED)


def finish_output() -> None:
    """Flushes standard output. If that raises OSError, the rest is discarded, so that the interpreter can exit."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
        raise


def read_text() -> str:
    """Reads all of standard input as UTF-8, whatever the encoding of the terminal; a byte order mark is removed.

    Raises InputError if it isn't UTF-8.
    """
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"standard input is not UTF-8 at byte {error.start}: convert it") from None


def _opened(number: int, mode: str) -> TextIO:
    return os.fdopen(number, mode, encoding="utf-8", closefd=False)  # type: ignore[return-value]


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end
