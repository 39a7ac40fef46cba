"""Lines of a file in bounded memory: of one that is too long only its length is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from ..errors import InputError

MAX_LINE_BYTES = 64 * 2**20
"""Room for an image in base64; a line, its text and what is made of it are in memory together."""

_BLOCK_BYTES = 2**20


def lines_of(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yields each line and its number of bytes; of one with more than `MAX_LINE_BYTES` only its beginning."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        num_bytes, end = len(line), line[-1:]
        while num_bytes > MAX_LINE_BYTES and end != b"\n" and (more := file.readline(_BLOCK_BYTES)):
            num_bytes, end = num_bytes + len(more), more[-1:]
        yield line, num_bytes


def text_lines(file: IO[str]) -> Iterator[str]:
    """Lines of a text file. Raises InputError for one that is too long."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise too_long_line()
        yield line


def too_long_line() -> InputError:
    return InputError(f"a line of over {MAX_LINE_BYTES >> 20} MiB: cut it, or give a large image by its path")
