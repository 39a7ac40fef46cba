"""Writes a shard: rows, vectors and what was rejected are committed together, the shard's own file last."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import JinaEmbeddingsError
from .chunks import Chunk
from .folder import Folder
from .layouts import InArrays, InLance, InParquet, Layout, types_of, vectors_column
from .provenance import Form
from .rows import printable
from .shards import FOOTER, Done, rejects_name, shard_name
from .writers import ROW_GROUP_BYTES

_MAX_GROUP_ROWS = 4096
WRITE_BATCH_VALUES = 65_536
"""Values that are encoded at a time; Arrow's default of 1,024 is half a vector."""


class ShardWriter:
    """Chunks of one shard in order; a context manager that commits them if nothing went wrong, else removes them.

    span: rows of the shard. widths: see `widths_of`. kept: columns beside the vectors.
    """

    def __init__(
        self,
        folder: Folder,
        run: str,
        shard: int,
        span: tuple[int, int],
        form: Form,
        widths: dict[str, int],
        kept: list[tuple[str, Any]],
    ):
        self._folder, self._run, self._shard, self._span = folder, run, shard, span
        self._kept = kept
        self._tables: list[Any] = []
        self._rejected = self._cut = 0
        self._num_rows = self._num_bytes = 0
        self._types = types_of(form, widths)
        self._schema = shard_schema(kept, self._types)
        self._rejects = folder.draft(rejects_name(shard))
        self._draft = folder.draft(shard_name(shard))
        self._layout: Layout = InParquet(list(form.columns))
        if form.layout == "lance":
            self._layout = InLance(folder)
        elif form.layout != "parquet":
            self._layout = InArrays(folder, shard, span[1] - span[0], form.columns, widths, f".{form.layout}")
        outside = set(self._types) - set(self._layout.in_shard)
        self._names = [name for name in self._schema.names if name not in outside]
        # Compression, dictionaries and statistics of vectors cost time and save next to nothing.
        # Arrow's own file: a write to one of Python waits for the GIL, for which the threads of the model compete.
        self._sink = pa.OSFile(str(self._draft.path), "wb")
        self._file = pq.ParquetWriter(
            self._sink,
            pa.schema([self._schema.field(name) for name in self._names]),
            compression={name: "zstd" for name in self._names if name not in self._types},
            use_dictionary=["kind", "error_code"],
            write_statistics=["row", "id"],
            write_batch_size=WRITE_BATCH_VALUES,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Each even if another fails, as they do on a full disk; what is not committed doesn't matter.
        for close in (
            self._file.close,
            self._sink.close,
            self._layout.discard,
            self._draft.discard,
            self._rejects.discard,
        ):
            with suppress(pa.ArrowException, OSError):
                close()

    def write(self, chunk: Chunk) -> None:
        rows = chunk.rows
        good = np.ones(len(rows), dtype=bool)
        good[list(rows.errors)] = False
        columns: list[Any] = [
            pa.array(np.arange(*chunk.span)),
            pa.array(rows.ids, pa.string()),
            pa.array(rows.kinds, pa.string()),
        ]
        for name, type_ in self._kept:
            columns.append(kept_column(rows.kept[name], type_))
        for name, type_ in self._types.items():
            columns.append(vectors_column(chunk.vectors.get(name), good, type_))
        for text_of in (code_of, _message):
            errors = {place: text_of(error) for place, error in rows.errors.items()}
            columns.append(pa.array(map(errors.get, range(len(rows))), pa.string(), size=len(rows)))
        table = pa.table(columns, schema=self._schema)
        self._layout.write(table, chunk.vectors, good)
        self._write_rejects(chunk)
        self._cut += chunk.cut
        self._tables.append(table.select(self._names))
        self._num_rows += len(rows)
        self._num_bytes += table.nbytes
        if self._num_bytes >= ROW_GROUP_BYTES or self._num_rows >= _MAX_GROUP_ROWS:
            self._write_group()

    def commit(self) -> Done:
        """What is written now is the shard. Vectors come first, its own file last: where it is, the others are too."""
        self._write_group()
        start, stop = self._span
        files, fragments = self._layout.commit()
        done = Done(self._run, self._shard, stop - start, self._rejected, files, fragments, self._cut)
        self._file.add_key_value_metadata({FOOTER.decode(): json.dumps(asdict(done))})
        self._file.close()
        self._sink.close()
        self._rejects.commit()
        self._draft.commit()
        return done

    def _write_rejects(self, chunk: Chunk) -> None:
        for place, error in sorted(chunk.rows.errors.items()):
            row, own = chunk.start + place, chunk.rows.ids[place]
            line = {"row": row, "id": own, "code": code_of(error), "message": _message(error)}
            self._rejects.file.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace"))
            self._rejects.file.write(b"\n")
            self._rejected += 1

    def _write_group(self) -> None:
        if self._tables:
            self._file.write_table(pa.concat_tables(self._tables), row_group_size=self._num_rows)
        self._tables = []
        self._num_rows = self._num_bytes = 0


def shard_schema(kept: list[tuple[str, Any]], vectors: dict[str, Any]) -> Any:
    """Of a row: its number and id, what is kept, its vectors, and the error where it was rejected."""
    fields = [("row", pa.int64()), ("id", pa.string()), ("kind", pa.string()), *kept, *vectors.items()]
    return pa.schema([*fields, ("error_code", pa.string()), ("error", pa.string())])


def code_of(error: Exception) -> str:
    return error.code if isinstance(error, JinaEmbeddingsError) else "input_error"


def kept_column(values: Any, type_: Any) -> Any:
    """values: a list, or an Arrow array."""
    if isinstance(values, pa.Array):
        if values.type == type_:
            return values
        values = values.to_pylist()
    if pa.types.is_string(type_):
        # Fields of JSON records have no one type: what is no string is written as JSON.
        values = [None if value is None else printable(_text_of(value)) for value in values]
    return pa.array(values, type_)


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _message(error: Exception) -> str:
    return printable(str(error))
