"""A file of a run read from any of its rows on, in one go: what is read next continues where the last stretch ended."""

from __future__ import annotations

import csv
import re
import tarfile
import zlib
from collections.abc import Generator, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import ImageError, InputError, JinaEmbeddingsError
from .long_lines import MAX_LINE_BYTES, too_long_line
from .offsets import MARK_ROWS, csv_record, lines_from, records_from
from .opening import is_packed, open_stored
from .readers import Reader
from .records import Fields, json_object, row_of
from .rows import Failure, Row
from .samples import sample_row, samples
from .sources import Source
from .stored_pdf import StoredPdf
from .stores import is_address
from .stretch import Stretch, texts_of
from .tables import TABLES, TableReader, records_of
from .text import decode
from .unchanged import changed_meanwhile, is_other

# What a file's own content can raise; an OSError with a number is the machine's.
_DAMAGE_ERRORS = (OSError, EOFError, zlib.error, csv.Error, tarfile.TarError, pa.ArrowException)


_OPENED_BY_MODEL = re.compile(r"(https?|file)://", re.IGNORECASE)


class Cursor:
    """Reads the rows of one source."""

    def __init__(self, source: Source, fields: Fields):
        self._source, self._fields = source, fields
        self._folder = Path(source.path).parent
        self._pdf: StoredPdf | None = None
        self._table = TableReader(source.path, source.kind, fields.all) if source.kind in TABLES else None
        self._next = 0
        self._raw: Generator[Any, None, None] | None = None

    def read(self, start: int, stop: int) -> Iterator[Row | Failure]:
        """One item for each of the rows from `start` to before `stop`; what can't be read is a `Failure`.

        Raises:
            RunMismatchError: the source has fewer rows than it had.
            OSError: the machine or the store failed, not the file.
        """
        given = start
        try:
            for raw in self._raws(start, stop):
                given += 1
                self._next = given
                yield self._row(raw, given)
        except _DAMAGE_ERRORS as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            self.close()
            if is_other(self._source):
                raise changed_meanwhile(self._source.path) from error
            damage = InputError(f"can't be read: {error}")
            yield from (Failure(f"{self._source.path}:{number}", damage) for number in range(given + 1, stop + 1))
            return
        if given != stop:
            raise changed_meanwhile(self._source.path)

    def texts(self, start: int, stop: int) -> Stretch | None:
        """The rows by columns, where all of them are texts of a table; None where `read` has to look at each."""
        if self._table is None:
            return None
        try:
            batches = list(self._table.read(start, stop))
            table = pa.Table.from_batches(batches) if batches else None
        except _DAMAGE_ERRORS:
            self._table.close()
            return None
        if table is None or len(table) != stop - start:
            return None
        return texts_of(table, self._source.path, start + 1, self._fields)

    def close(self) -> None:
        if self._raw is not None:
            self._raw.close()
        self._raw = self._pdf = None
        if self._table is not None:
            self._table.close()

    def _raws(self, start: int, stop: int) -> Iterator[Any]:
        if self._table is None:
            return islice(self._from(start), stop - start)
        return (record for batch in self._table.read(start, stop) for record in records_of(batch))

    def _from(self, start: int) -> Generator[Any, None, None]:
        if self._raw is not None and self._next <= start and (self._next == start or is_packed(self._source.path)):
            # Unpacking again from the start would cost more than what lies between.
            for _ in range(self._next, start):
                next(self._raw, None)
            return self._raw
        self.close()
        self._raw = self._open(start)
        return self._raw

    def _open(self, start: int) -> Generator[Any, None, None]:
        source, kind = self._source, self._source.kind
        if kind in ("pdf", "text", "image", "unreadable"):
            yield from range(start + 1, source.rows + 1)
            return
        openers = {"lines": lines_from, "jsonl": lines_from, "csv": records_from, "tar": samples}
        raw: Iterator[Any] = openers[kind](source.path, source.marks[start // MARK_ROWS])
        yield from islice(raw, start % MARK_ROWS, None)

    def _row(self, raw: Any, number: int) -> Row | Failure:
        path, kind = self._source.path, self._source.kind
        name = f"{path}:{number}"
        try:
            if kind == "unreadable":
                return Failure(path, InputError(self._source.error))
            if kind in ("text", "image"):
                return _whole_file(path, kind)
            if kind == "pdf":
                return Row(f"{path}#page={number}", "image", {"image": self._page(number)})
            if kind == "lines":
                return _line(name, raw, first=number == 1)
            if kind == "tar":
                return sample_row(raw, self._fields, path)
            record = json_object(raw) if kind == "jsonl" else csv_record(*raw) if kind == "csv" else raw
            return self._with_image(row_of(record, name, self._fields, self._folder))
        except JinaEmbeddingsError as error:
            return Failure(name if kind not in ("text", "image") else path, error)

    def _page(self, number: int) -> Path:
        if not is_address(self._source.path):
            return Path(f"{self._source.path}#page={number}")
        self._pdf = self._pdf or StoredPdf(self._source.path)
        return self._pdf.page(number)

    def _with_image(self, row: Row | Failure) -> Row | Failure:
        """An image of a store as its bytes; beside a table of a store, paths are that store's."""
        if isinstance(row, Failure) or row.kind == "text":
            return row
        image = row.input["image"]
        if isinstance(image, Path) and is_address(self._source.path):
            image = f"{self._source.path.rpartition('/')[0]}/{image.relative_to(self._folder)}"
        if not isinstance(image, str) or not is_address(image) or _OPENED_BY_MODEL.match(image):
            return row
        try:
            with open_stored(image) as file:
                return replace(row, input={"image": file.read()})
        except FileNotFoundError:
            return Failure(row.id, ImageError(f"there is no {image}"), row.kept)


def _whole_file(path: str, kind: str) -> Row | Failure:
    if is_address(path):
        with open_stored(path) as file:
            data = file.read()
        return Row(path, "image", {"image": data}) if kind == "image" else Row(path, "text", {"text": decode(data)})
    return next(iter(Reader().read([path])))  # type: ignore[return-value]


def _line(name: str, line: bytes, *, first: bool) -> Row | Failure:
    if len(line) > MAX_LINE_BYTES:
        return Failure(name, too_long_line())
    try:
        return Row(name, "text", {"text": line.decode("utf-8-sig" if first else "utf-8").strip("\r\n")})
    except UnicodeDecodeError as error:
        return Failure(name, InputError(f"not UTF-8 at byte {error.start}: convert it"))
