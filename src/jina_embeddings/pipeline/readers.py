"""Files, folders and standard input become rows, each read when it is asked for."""

from __future__ import annotations

import csv
import io
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from ..errors import InputError, JinaEmbeddingsError, not_utf8, unreadable
from ..inputs.pdf import num_pdf_pages
from .files import STDIN, find_files, kind_of
from .long_lines import MAX_LINE_BYTES, lines_of, text_lines, too_long_line
from .records import Fields, json_object, row_of
from .rows import Failure, Item, LeftOut, NothingInsideError, Row, printable
from .text import MAX_TEXT_BYTES, decode, open_unpacked, read_bytes

_EMPTY_CELLS = "write the commas of empty cells too"


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads paths in the order given; see `find_files` for folders.

    text_field, image_field: the field of a JSON line, or the column of a CSV file, that holds the input.
    leave_out: absolute paths that are passed by in folders.
    """

    text_field: str = "text"
    image_field: str = "image"
    leave_out: frozenset[str] = field(default_factory=frozenset)

    def read(self, paths: Iterable[str]) -> Iterator[Item]:
        """Every row of every path; what can't be read is a `Failure` in its place, never an exception."""
        for path, named in find_files(paths, self.leave_out):
            name = printable(path)
            try:
                yield from self._file(path)
            except NothingInsideError as error:
                yield Failure(name, error) if named else LeftOut(name, str(error))
            except JinaEmbeddingsError as error:
                yield Failure(name, error)
            except (EOFError, zlib.error) as error:
                yield Failure(name, InputError(f"a broken .gz: {error}"))
            except OSError as error:
                yield Failure(name, unreadable(error))

    def counts(self, paths: Iterable[str]) -> Iterator[int | None]:
        """How many rows each file has at most, in turn, without decoding them; None where only reading tells."""
        counters: dict[str, Callable[[str], int]] = {"jsonl": count_lines, "csv": _count_records, "pdf": num_pdf_pages}
        for path, _ in find_files(paths, self.leave_out):
            if path == STDIN:
                yield None
                continue
            try:
                kind = kind_of(path)
                yield counters[kind](path) if kind in counters else 1
            except (JinaEmbeddingsError, OSError, ValueError, EOFError, zlib.error, csv.Error):
                yield 0

    def _file(self, path: str) -> Iterator[Row | Failure]:
        if path == STDIN:
            return _stdin()
        kind = kind_of(path)
        if kind == "jsonl":
            return self._jsonl(path)
        if kind == "csv":
            return self._csv(path)
        if kind == "pdf":
            return _pdf(path)
        if kind == "image":
            return iter([Row(printable(path), "image", {"image": Path(path)})])
        return iter([_text(path)])

    def _jsonl(self, path: str) -> Iterator[Row | Failure]:
        with open_unpacked(path) as file:
            for number, (line, num_bytes) in enumerate(lines_of(file), 1):
                if num_bytes <= MAX_LINE_BYTES and not line.strip():
                    continue
                try:
                    yield self._placed(json_object(line), path, number)
                except InputError as error:
                    yield Failure(printable(f"{path}:{number}"), error)

    def _csv(self, path: str) -> Iterator[Row | Failure]:
        with io.TextIOWrapper(open_unpacked(path), encoding="utf-8-sig", newline="") as file:
            records, line = _csv_records(file, path), 1
            try:
                header: list[str] = next(records, [])
                if not {self.text_field, self.image_field} & set(header):
                    raise InputError(
                        f"no column {self.text_field!r} or {self.image_field!r} in its first line "
                        f"({', '.join(header)}): name one with `text_field` or `image_field`"
                    )
                if twice := sorted(name for name, count in Counter(header).items() if count > 1):
                    raise InputError(f"line 1 names a column twice ({', '.join(twice)}): rename one")
                line = records.line_num + 1
                for cells in records:
                    if cells:
                        try:
                            yield self._placed(record_of(header, cells), path, line)
                        except InputError as error:
                            yield Failure(printable(f"{path}:{line}"), error)
                    line = records.line_num + 1
            except (UnicodeDecodeError, csv.Error) as error:
                failed = InputError(f"not CSV in UTF-8, and the rest is not read: {error}")
                yield Failure(printable(f"{path}:{line}"), failed)

    def _placed(self, record: dict[str, Any], path: str, line: int) -> Row | Failure:
        """The row of the record at a line, with the fields that are not its input."""
        where = printable(f"{path}:{line}")
        made = row_of(record, where, Fields(self.text_field, self.image_field), Path(path).parent)
        if made.id != where:
            made = replace(made, where=where)
        if isinstance(made, Failure):
            return made
        kept = {name: value for name, value in record.items() if name not in (self.text_field, self.image_field)}
        return replace(made, kept=kept, line=line)


def _stdin() -> Iterator[Row | Failure]:
    for number, (line, num_bytes) in enumerate(lines_of(sys.stdin.buffer), 1):
        name = f"stdin:{number}"
        if num_bytes > MAX_LINE_BYTES:
            yield Failure(name, too_long_line())
            continue
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            yield Failure(name, not_utf8(error))
            continue
        if text.strip():
            yield Row(name, "text", {"text": text})


def _text(path: str) -> Row:
    text = decode(read_bytes(path))
    if not text.strip():
        raise NothingInsideError("the file is empty")
    return Row(printable(path), "text", {"text": text})


def _pdf(path: str) -> Iterator[Row]:
    # By number: the processor renders a page when its turn comes, so that one of them is in memory.
    for number in range(1, num_pdf_pages(path) + 1):
        page = f"{path}#page={number}"
        yield Row(printable(page), "image", {"image": Path(page)})


def delimiter_of(path: str) -> str:
    """The delimiter of a .csv or .tsv file, compressed or not."""
    return "\t" if re.search(r"\.tsv(\.\w+)?$", path, re.IGNORECASE) else ","


def record_of(header: list[str], cells: list[str]) -> dict[str, str]:
    """A record of a CSV file. Raises InputError if it has more or fewer cells than there are columns."""
    if len(cells) != len(header):
        advice = "quote cells that have commas in them" if len(cells) > len(header) else _EMPTY_CELLS
        raise InputError(f"{len(cells)} cells for {len(header)} columns: {advice}")
    return dict(zip(header, cells, strict=True))


def _csv_records(file: IO[str], path: str) -> Any:
    # Python's own limit is 128 KiB a cell, and there is only one for the whole process.
    csv.field_size_limit(MAX_TEXT_BYTES)
    return csv.reader(text_lines(file), delimiter=delimiter_of(path), strict=True)


def count_lines(path: str) -> int:
    with open_unpacked(path) as file:
        return sum(1 for line, num_bytes in lines_of(file) if num_bytes > MAX_LINE_BYTES or not line.isspace())


def _count_records(path: str) -> int:
    with io.TextIOWrapper(open_unpacked(path), encoding="utf-8-sig", newline="") as file:
        return max(0, sum(1 for cells in _csv_records(file, path) if cells) - 1)
