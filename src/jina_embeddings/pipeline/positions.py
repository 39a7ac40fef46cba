"""Rows of a file by their number: where each begins, and reading from any of them on."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any

from ..errors import DependencyError, InputError
from .readers import delimiter_of
from .text import MAX_TEXT_BYTES

COLUMNAR = {"parquet": ".parquet", "arrow": ".arrow"}
MARK_ROWS = 1000
_BATCH_ROWS = 1024


def open_bytes(path: str) -> IO[bytes]:
    """The file, unpacked if its name ends in .gz or .zst."""
    if path.lower().endswith(".gz"):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if path.lower().endswith(".zst"):
        try:
            import zstandard
        except ImportError:
            raise DependencyError(f"{path} needs zstandard: pip install zstandard") from None
        return zstandard.open(path, "rb")  # type: ignore[no-any-return]
    return open(path, "rb")


def line_offsets(path: str) -> Iterator[int]:
    """Of each line that is not blank."""
    offset = 0
    with open_bytes(path) as file:
        for line in file:
            if line.strip():
                yield offset
            offset += len(line)


def record_offsets(path: str) -> Iterator[int]:
    """Of each record of a CSV file after its header."""
    lines = _Lines(path)
    with lines.file:
        records = _csv(lines)
        next(records, None)
        while True:
            # A record that is blank is none, and the next one's offset is taken after it.
            offset = lines.offset
            cells = next(records, None)
            if cells is None:
                return
            if cells:
                yield offset


def columnar_rows(path: str, kind: str) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if kind == "parquet":
            return int(pq.ParquetFile(path).metadata.num_rows)
        with pa.memory_map(path) as file:
            reader = pa.ipc.open_file(file)
            return sum(reader.get_batch(index).num_rows for index in range(reader.num_record_batches))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"not a file of {kind}: {error}") from None


def read_lines(path: str, start: int, stop: int, marks: tuple[int, ...]) -> Iterator[bytes]:
    """Rows `start` to `stop` of a file whose rows are lines."""
    with open_bytes(path) as file:
        file.seek(marks[start // MARK_ROWS])
        lines = (line for line in file if line.strip())
        yield from islice(lines, start % MARK_ROWS, start % MARK_ROWS + stop - start)


def read_records(path: str, start: int, stop: int, marks: tuple[int, ...]) -> Iterator[dict[str, str]]:
    """Rows `start` to `stop` of a CSV file. A byte that is not UTF-8 is half a surrogate pair in its cell."""
    lines = _Lines(path)
    with lines.file:
        header = [name.removeprefix("\ufeff") for name in next(_csv(lines), [])]
        lines.seek(marks[start // MARK_ROWS])
        records = (cells for cells in _csv(lines) if cells)
        for cells in islice(records, start % MARK_ROWS, start % MARK_ROWS + stop - start):
            yield dict(zip(header, cells, strict=False))


def read_columns(path: str, kind: str, start: int, stop: int, columns: list[str]) -> Iterator[dict[str, Any]]:
    """Rows `start` to `stop`, a batch in memory at a time; columns that the file doesn't have are left out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    position = 0
    if kind == "parquet":
        with pq.ParquetFile(path) as file:
            found = [name for name in columns if name in file.schema_arrow.names]
            for group in range(file.metadata.num_row_groups):
                num_rows = file.metadata.row_group(group).num_rows
                if position + num_rows > start and position < stop:
                    batches = file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group], columns=found)
                    yield from _slice(batches, position, start, stop)
                position += num_rows
        return
    with pa.memory_map(path) as mapped:
        reader = pa.ipc.open_file(mapped)
        found = [name for name in columns if name in reader.schema.names]
        for index in range(reader.num_record_batches):
            batch = reader.get_batch(index).select(found)
            if position + batch.num_rows > start and position < stop:
                parts = (batch.slice(first, _BATCH_ROWS) for first in range(0, batch.num_rows, _BATCH_ROWS))
                yield from _slice(parts, position, start, stop)
            position += batch.num_rows


def _slice(batches: Any, position: int, start: int, stop: int) -> Iterator[dict[str, Any]]:
    for batch in batches:
        first, last = max(0, start - position), min(batch.num_rows, stop - position)
        if first < last:
            yield from batch.slice(first, last - first).to_pylist()
        position += batch.num_rows


class _Lines:
    """Lines of a file as csv wants them. offset: in bytes, of the next one."""

    def __init__(self, path: str):
        self.file = open_bytes(path)
        self.delimiter = delimiter_of(path)
        self.offset = 0

    def seek(self, offset: int) -> None:
        self.file.seek(offset)
        self.offset = offset

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.file.readline()
        if not line:
            raise StopIteration
        self.offset += len(line)
        return line.decode("utf-8", "surrogateescape")


def _csv(lines: _Lines) -> Iterator[list[str]]:
    csv.field_size_limit(MAX_TEXT_BYTES)
    return csv.reader(lines, delimiter=lines.delimiter)


def json_object(line: bytes) -> dict[str, Any]:
    """Raises InputError for a line that is no JSON object."""
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"not a line of JSON in UTF-8: {error}") from None
    if not isinstance(record, dict):
        raise InputError(f"expected a JSON object, not {type(record).__name__}")
    return record
