"""Byte offsets of the rows of a file, and reading from any of them on."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from typing import IO, Any

from ..errors import InputError
from .long_lines import MAX_LINE_BYTES, lines_of, too_long_line
from .opening import open_bytes
from .readers import delimiter_of, record_of
from .text import MAX_TEXT_BYTES, encoding_of_mark

MARK_ROWS = 1000
"""Number of rows between two of a file whose offsets are kept."""
# Of the longest byte order mark.
_MARK_BYTES = 4


def line_offsets(path: str) -> Iterator[int]:
    """Yields the offset of each line that is not blank. Raises InputError for a file that isn't in UTF-8."""
    file, offset = _open_text(path)
    with file:
        for line, num_bytes in lines_of(file):
            if num_bytes > MAX_LINE_BYTES or line.strip():
                yield offset
            offset += num_bytes


def record_offsets(path: str) -> Iterator[int]:
    """Yields the offset of each record of a CSV file after its header.

    Raises InputError for a file that isn't in UTF-8, a header that names a column twice, and what is no CSV.
    """
    lines = _Lines(path)
    with lines.file:
        records = _csv(lines)
        header: list[str] | None = None
        while True:
            # A record that is blank is none, and the next one's offset is taken after it.
            offset, line = lines.offset, records.line_num + 1
            try:
                cells = next(records, None)
            except csv.Error as error:
                raise InputError(f"line {line}: not CSV: {error}: close its quotes, and end lines by \\n") from None
            if cells is None:
                return
            if header is not None and cells:
                yield offset
            elif cells:
                header = cells
                if twice := sorted({name for name in header if header.count(name) > 1}):
                    raise InputError(f"line {line} names a column twice ({', '.join(twice)}): rename one")


def csv_header(path: str) -> list[str]:
    """The names of the columns of a CSV file; the first line that is not blank has them."""
    lines = _Lines(path)
    with lines.file:
        header: list[str] = next(filter(None, _csv(lines)), [])
        return header


def lines_from(path: str, offset: int) -> Iterator[bytes]:
    """Yields the lines from an offset on that are not blank; see `lines_of`."""
    with open_bytes(path) as file:
        file.seek(offset)
        for line, num_bytes in lines_of(file):
            if num_bytes > MAX_LINE_BYTES or line.strip():
                yield line


def records_from(path: str, offset: int) -> Iterator[tuple[list[str], list[str]]]:
    """Header and cells of each record of a CSV file. A byte that is not UTF-8 is half a surrogate pair in its cell."""
    lines = _Lines(path)
    with lines.file:
        header: list[str] = next(filter(None, _csv(lines)), [])
        lines.seek(offset)
        for cells in _csv(lines):
            if cells:
                yield header, cells


class _Lines:
    """Lines of a file as csv wants them. offset: in bytes, of the next one."""

    def __init__(self, path: str):
        self.file, self.offset = _open_text(path)
        self.delimiter = delimiter_of(path)

    def seek(self, offset: int) -> None:
        self.file.seek(offset)
        self.offset = offset

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.file.readline(MAX_LINE_BYTES + 1)
        if not line:
            raise StopIteration
        if len(line) > MAX_LINE_BYTES:
            raise too_long_line()
        self.offset += len(line)
        return line.decode("utf-8", "surrogateescape")


def _open_text(path: str) -> tuple[IO[bytes], int]:
    """A file of lines in UTF-8, behind its byte order mark, and the offset there."""
    file = open_bytes(path)
    head = file.read(_MARK_BYTES)
    encoding = encoding_of_mark(head)
    if encoding not in (None, "utf-8"):
        file.close()
        raise InputError(f"in {encoding.upper()}: convert it to UTF-8")
    offset = len(codecs.BOM_UTF8) if encoding else 0
    file.seek(offset)
    return file, offset


def _csv(lines: _Lines) -> Any:
    csv.field_size_limit(MAX_TEXT_BYTES)
    return csv.reader(lines, delimiter=lines.delimiter, strict=True)


def csv_record(header: list[str], cells: list[str]) -> dict[str, str]:
    """Raises InputError for more or fewer cells than there are columns, and for what is not UTF-8."""
    record = record_of(header, cells)
    try:
        for cell in cells:
            cell.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"not UTF-8: {error.reason}: convert it") from None
    return record
