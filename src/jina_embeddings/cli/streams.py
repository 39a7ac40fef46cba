"""Standard input, output and error, whatever they are: closed, full, or of an encoding that lacks a character."""

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
    """Once, before anything is opened or printed.

    What is closed becomes the null device: else the next file that is opened would take its number, and with that
    whatever libraries print. Characters that an output lacks are written as JSON escapes them, so that JSON stays JSON.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdin = sys.stdin or _opened(0, "r")
    sys.stdout = sys.stdout or _opened(1, "w")
    sys.stderr = sys.stderr or _opened(2, "w")
    codecs.register_error(_ESCAPED, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPED)


def finish_output() -> None:
    """Writes what is left of standard output, or raises OSError and forgets it, so that leaving doesn't fail again."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
        raise


def read_text() -> str:
    """All of standard input, which is UTF-8 whatever the terminal's encoding; without a byte order mark.

    Raises InputError where it isn't.
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
