"""A shard: one Parquet file, there when all of its rows are, and done when its footer says so."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import JinaEmbeddingsError
from ..vectors.quantization import quantize
from .drafts import Draft
from .embed import Embedded
from .rows import Failure
from .writers import ROW_GROUP_BYTES, arrow_column

_DONE = b"jina_embeddings.shard"
_MAX_GROUP_ROWS = 4096
_TYPES = {"float": pa.float32(), "float16": pa.float16(), "int8": pa.int8(), "binary": pa.int8(), "ubinary": pa.uint8()}


@dataclass(frozen=True, slots=True)
class Done:
    """What the footer of a whole shard says. run: of which run it is a part."""

    run: str
    shard: int
    rows: int
    rejected: int


def shard_path(folder: Path, shard: int) -> Path:
    return folder / f"shard-{shard:06d}.parquet"


def rejects_path(folder: Path, shard: int) -> Path:
    return folder / "rejects" / f"{shard:06d}.jsonl"


def read_done(folder: Path, shard: int, run: str) -> Done | None:
    """None where the shard is not there, is torn, or is another run's."""
    try:
        metadata = pq.read_metadata(shard_path(folder, shard))
        done = Done(**json.loads(metadata.metadata[_DONE]))
    except (OSError, pa.ArrowInvalid, KeyError, ValueError, TypeError):
        return None
    return done if (done.run, done.shard, done.rows) == (run, shard, metadata.num_rows) else None


def embedding_type(form: str, dimension: int, *, multivector: bool) -> Any:
    """The Arrow type of a column of vectors."""
    if form == "base64":
        return pa.list_(pa.string()) if multivector else pa.string()
    number, width = _TYPES[form], dimension // 8 if form.endswith("binary") else dimension
    return pa.list_(pa.list_(number)) if multivector else pa.list_(number, width)


class ShardWriter:
    """Rows of one shard in order; a context manager that commits them if nothing went wrong, else removes them.

    forms: type of the vectors in each column. kept: Arrow types of the columns kept beside them.
    """

    def __init__(
        self,
        folder: Path,
        run: str,
        shard: int,
        first_row: int,
        forms: dict[str, str],
        types: dict[str, Any],
        kept: Any,
    ):
        self._target = run, shard
        self._forms, self._types, self._kept = forms, types, kept
        self._first = self._next = first_row
        self._items: list[Embedded | Failure] = []
        self._num_bytes = 0
        self.rejected = 0
        rejects_path(folder, shard).parent.mkdir(exist_ok=True)
        self._rejects = Draft(rejects_path(folder, shard))
        try:
            self._draft = Draft(shard_path(folder, shard))
        except OSError:
            self._rejects.discard()
            raise
        fields = [("row", pa.int64()), ("id", pa.string()), ("kind", pa.string()), *kept, *types.items()]
        self._schema = pa.schema([*fields, ("error_code", pa.string()), ("error", pa.string())])
        # Dictionaries and statistics of random numbers cost time and save nothing.
        self._file = pq.ParquetWriter(
            self._draft.file, self._schema, compression="zstd", use_dictionary=["kind"], write_statistics=["row", "id"]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._commit()
        finally:
            self._rejects.discard()
            self._draft.discard()

    def write(self, item: Embedded | Failure) -> None:
        self._items.append(item)
        if isinstance(item, Embedded):
            self._num_bytes += getattr(item.embedding, "nbytes", 0)
        if self._num_bytes >= ROW_GROUP_BYTES or len(self._items) >= _MAX_GROUP_ROWS:
            self._write_group()

    def _write_group(self) -> None:
        items = self._items
        failures = {index: item for index, item in enumerate(items) if isinstance(item, Failure)}
        rows = range(self._next, self._next + len(items))
        for index, failure in failures.items():
            line = {"row": rows[index], "id": failure.id, "code": code_of(failure.error), "message": str(failure.error)}
            self._rejects.file.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
        columns: list[Any] = [
            pa.array(rows, pa.int64()),
            pa.array([item.row.id if isinstance(item, Embedded) else item.id for item in items], pa.string()),
            pa.array([item.row.kind if isinstance(item, Embedded) else None for item in items], pa.string()),
        ]
        for name, type_ in self._kept:
            values = [(item.row.kept if isinstance(item, Embedded) else item.kept).get(name) for item in items]
            columns.append(kept_column(values, type_))
        vectors = [item.embedding for item in items if isinstance(item, Embedded)]
        columns += [self._vectors(vectors, failures, len(items), name) for name in self._forms]
        errors = [failures[index].error if index in failures else None for index in range(len(items))]
        columns.append(pa.array([None if error is None else code_of(error) for error in errors], pa.string()))
        columns.append(pa.array([None if error is None else _message(error) for error in errors], pa.string()))
        self._file.write_table(pa.table(columns, schema=self._schema), row_group_size=len(items))
        self.rejected += len(failures)
        self._next += len(items)
        self._items, self._num_bytes = [], 0

    def _vectors(self, vectors: list[Any], failures: dict[int, Failure], num_rows: int, name: str) -> Any:
        if not vectors:
            return pa.nulls(num_rows, self._types[name])
        form = self._forms[name]
        if form == "float16":
            vectors = [vector.astype(np.float16) for vector in vectors]
        elif len(self._forms) > 1 and form != "float":
            vectors = list(quantize(np.stack(vectors), form))
        column = arrow_column(tuple(vectors))
        if failures:
            places = iter(range(len(vectors)))
            column = column.take(pa.array([None if row in failures else next(places) for row in range(num_rows)]))
        return column

    def _commit(self) -> None:
        if self._items:
            self._write_group()
        run, shard = self._target
        done = Done(run, shard, self._next - self._first, self.rejected)
        self._file.add_key_value_metadata({_DONE.decode(): json.dumps(asdict(done))})
        self._file.close()
        # The shard comes last: where it is, what it rejected is too.
        self._rejects.commit()
        self._draft.commit()


def code_of(error: Exception) -> str:
    return error.code if isinstance(error, JinaEmbeddingsError) else "input_error"


def kept_column(values: list[Any], type_: Any) -> Any:
    if pa.types.is_string(type_):
        # Fields of JSON records have no one type: what is no string is written as JSON.
        values = [
            value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            for value in values
        ]
    return pa.array(values, type_)


def _message(error: Exception) -> str:
    return str(error).encode("utf-8", "backslashreplace").decode()
