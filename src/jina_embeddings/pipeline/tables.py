"""Rows of tables by their number: Parquet, Arrow and Lance."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import count
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import DependencyError, InputError
from .opening import open_stored
from .stores import is_address

TABLES = {"parquet": ".parquet", "arrow": ".arrow", "lance": ".lance"}
_BATCH_ROWS = 4096


def num_table_rows(path: str, kind: str) -> int:
    """Raises InputError for what is no such table, and for one with two columns of one name."""
    try:
        if kind == "lance":
            return int(_lance(path).count_rows())
        if kind == "parquet":
            with open_stored(path) as file, pq.ParquetFile(file) as table:
                check_names(table.schema_arrow.names)
                return int(table.metadata.num_rows)
        with closing(_source(path)) as source:
            reader = _arrow_reader(source)
            check_names(reader.schema.names)
            return sum(batch.num_rows for batch in _batches_of(reader))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"not a file of {kind}: {error}") from None


def check_names(names: list[str]) -> None:
    """Raises InputError where a name comes twice."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"two columns have one name ({', '.join(map(repr, twice))}): rename one")


def lance_version(path: str) -> str:
    """Of a Lance dataset: another one when its rows have changed."""
    dataset = _lance(path)
    files = [file.path for fragment in dataset.get_fragments() for file in fragment.data_files()]
    return f"version {dataset.version} {hashlib.blake2b(' '.join(files).encode(), digest_size=16).hexdigest()}"


def table_schema(path: str, kind: str) -> Any:
    """The Arrow schema of the table."""
    if kind == "lance":
        return _lance(path).schema
    if kind == "parquet":
        with open_stored(path) as file:
            return pq.read_schema(file)
    with closing(_source(path)) as source:
        return _arrow_reader(source).schema


class TableReader:
    """Reads rows of a table by their number; a stretch that follows the last one is read on, not searched for.

    columns: those that the table doesn't have are left out.
    """

    def __init__(self, path: str, kind: str, columns: list[str]):
        self._table = (path, kind, columns)
        self._batches: Generator[Any, None, None] | None = None
        # Batches that were read, from that of the last stretch's first row on, and the number of their first row.
        self._held: deque[Any] = deque()
        self._first = 0

    def read(self, start: int, stop: int) -> Iterator[Any]:
        """Yields the rows from `start` to before `stop` as record batches; the same stretch may be read again."""
        held = self._held
        if self._batches is None or not self._first <= start <= self._first + sum(map(len, held)):
            self.close()
            path, kind, columns = self._table
            self._batches, self._first = _batches(path, kind, start, columns), start
        while held and self._first + len(held[0]) <= start:
            self._first += len(held.popleft())
        first = self._first
        for number in count():
            if number == len(held):
                batch = next(self._batches, None)
                if batch is None:
                    return
                held.append(batch)
            begin, end = max(start, first), min(stop, first + len(held[number]))
            yield held[number].slice(begin - first, end - begin)
            first += len(held[number])
            if first >= stop:
                return

    def close(self) -> None:
        if self._batches is not None:
            self._batches.close()
        self._batches = None
        self._held.clear()


def records_of(batch: Any) -> Iterator[dict[str, Any]]:
    """The rows of a record batch, also of one without columns.

    Values are Python's, but times in nanoseconds, which Python has not, stay Arrow's.
    """
    names = batch.schema.names
    if not names:
        yield from ({} for _ in range(batch.num_rows))
    for values in zip(*map(_values, batch.columns), strict=True):
        yield dict(zip(names, values, strict=True))


def _values(column: Any) -> list[Any]:
    if getattr(column.type, "unit", None) == "ns":
        return [value if value.is_valid else None for value in column]
    return column.to_pylist()  # type: ignore[no-any-return]


def _batches(path: str, kind: str, start: int, columns: list[str]) -> Generator[Any, None, None]:
    """Record batches from row `start` on, one in memory at a time."""
    if kind == "lance":
        dataset = _lance(path)
        found = [name for name in columns if name in dataset.schema.names]
        batches = dataset.to_batches(columns=found, offset=start, batch_size=_BATCH_ROWS, scan_in_order=True)
        yield from batches
        return
    if kind == "parquet":
        with open_stored(path) as file, pq.ParquetFile(file) as table:
            groups, skip = _groups_from(table.metadata, start)
            found = [name for name in columns if name in table.schema_arrow.names]
            for group in groups:
                # By the group, so that batches begin at the same rows wherever reading begins.
                batches = table.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group], columns=found)
                yield from _from(batches, skip)
                skip = 0
        return
    with closing(_source(path)) as source:
        reader = _arrow_reader(source)
        found = [name for name in columns if name in reader.schema.names]
        parts = (
            batch.select(found).slice(first, _BATCH_ROWS)
            for batch in _batches_of(reader)
            for first in range(0, batch.num_rows, _BATCH_ROWS)
        )
        yield from _from(parts, start)


def _from(batches: Iterable[Any], skip: int) -> Iterator[Any]:
    """Batches without the first rows."""
    for batch in batches:
        if skip >= batch.num_rows:
            skip -= batch.num_rows
            continue
        yield batch.slice(skip)
        skip = 0


def _groups_from(metadata: Any, start: int) -> tuple[list[int], int]:
    """Row groups that hold what comes from row `start` on, and how many rows of theirs stand before it."""
    first = 0
    while first < metadata.num_row_groups and metadata.row_group(first).num_rows <= start:
        start -= metadata.row_group(first).num_rows
        first += 1
    return list(range(first, metadata.num_row_groups)), start


def _source(path: str) -> Any:
    return pa.PythonFile(open_stored(path)) if is_address(path) else pa.memory_map(path)


def _arrow_reader(source: Any) -> Any:
    # Files of `datasets` are streams, without the footer that a file has.
    magic = source.read(6)
    source.seek(0)
    return pa.ipc.open_file(source) if magic == b"ARROW1" else pa.ipc.open_stream(source)


def _batches_of(reader: Any) -> Iterator[Any]:
    if hasattr(reader, "num_record_batches"):
        return (reader.get_batch(index) for index in range(reader.num_record_batches))
    return iter(reader)


def _lance(path: str) -> Any:
    try:
        import lance
    except ImportError:
        raise DependencyError(f"{path} needs Lance: pip install pylance") from None
    try:
        return lance.dataset(path)
    except ValueError as error:
        raise InputError(f"not a Lance dataset: {error}") from None


def datasets_files(folder: str) -> list[str] | None:
    """The Arrow files of a folder that `Dataset.save_to_disk` wrote, of all its splits; None for another folder."""
    splits, state = os.path.join(folder, "dataset_dict.json"), os.path.join(folder, "state.json")
    try:
        if os.path.isfile(splits):
            with open(splits, encoding="utf-8") as file:
                names = json.load(file)["splits"]
            return [path for name in names for path in datasets_files(os.path.join(folder, name)) or ()]
        if os.path.isfile(state):
            with open(state, encoding="utf-8") as file:
                return [os.path.join(folder, data["filename"]) for data in json.load(file)["_data_files"]]
    except (ValueError, KeyError, TypeError):
        return None
    return None
