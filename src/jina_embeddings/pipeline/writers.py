"""Rows to a file, as they come; it appears under its name only when all of it is there.

| suffix | vectors | beside it |
|---|---|---|
| .parquet | column `embedding`; what made them is in the schema's metadata | |
| .jsonl | field `embedding` of each line | NAME.meta.json, what made them |
| .npy | one array, dense vectors only | NAME.meta.json, and NAME.rows.jsonl with id and kind of each row |
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import OptionError, suggest
from .drafts import Draft, check_target

ROW_GROUP_BYTES = 32 * 2**20
"""Vectors that a Parquet file's writer holds before it writes them as one row group."""


class Writer:
    """Writes rows; a context manager that gives the files their names if nothing went wrong, else removes them.

    Embeddings are those of `JinaEmbeddings.stream`, all of one form. metadata: what made them.
    """

    extras: ClassVar[tuple[str, ...]] = (".meta.json",)

    def __init__(self, path: Path, metadata: Mapping[str, Any]):
        self.metadata = dict(metadata)
        self.num_rows = 0
        self._drafts: list[Draft] = []
        try:
            for target in output_files(path):
                self._drafts.append(Draft(target))
        except OSError:
            self._discard()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
                # The file that was asked for comes last: where it is, the others are too.
                for draft in reversed(self._drafts):
                    draft.commit()
        finally:
            self._discard()

    def write(self, row_id: str, kind: str, embedding: Any) -> None:
        self.num_rows += 1
        self._write(row_id, kind, embedding)

    def _write(self, row_id: str, kind: str, embedding: Any) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        """What is written after the last row."""
        self._drafts[1].file.write(json.dumps(self.metadata, indent=1, ensure_ascii=False).encode() + b"\n")

    def _discard(self) -> None:
        for draft in self._drafts:
            draft.discard()


class ParquetWriter(Writer):
    """Columns id, kind, embedding. Dense vectors are fixed_size_list, multi-vectors list<list>, base64 strings."""

    extras = ()

    def __init__(self, path: Path, metadata: Mapping[str, Any]):
        super().__init__(path, metadata)
        self._file: Any = None
        self._rows: list[tuple[str, str, Any]] = []
        self._num_bytes = 0

    def _write(self, row_id: str, kind: str, embedding: Any) -> None:
        self._rows.append((row_id, kind, embedding))
        self._num_bytes += embedding.nbytes if isinstance(embedding, np.ndarray) else sum(map(len, embedding))
        if self._num_bytes >= ROW_GROUP_BYTES:
            self._write_group()

    def _write_group(self) -> None:
        ids, kinds, embeddings = zip(*self._rows, strict=True)
        columns = {
            "id": pa.array(ids, pa.string()),
            "kind": pa.array(kinds, pa.string()),
            "embedding": arrow_column(embeddings),
        }
        table = pa.table(columns).replace_schema_metadata(
            {name: value if isinstance(value, str) else json.dumps(value) for name, value in self.metadata.items()}
        )
        if self._file is None:
            # Dictionaries and statistics of random numbers cost time and save nothing.
            self._file = pq.ParquetWriter(
                self._drafts[0].file, table.schema, compression="zstd", use_dictionary=["kind"], write_statistics=["id"]
            )
        self._file.write_table(table, row_group_size=len(ids))
        self._rows.clear()
        self._num_bytes = 0

    def _finish(self) -> None:
        if self._rows:
            self._write_group()
        if self._file is not None:
            self._file.close()


class JsonlWriter(Writer):
    """One object a line: id, kind, embedding (numbers, lists of numbers, or base64)."""

    def _write(self, row_id: str, kind: str, embedding: Any) -> None:
        start = json.dumps({"id": row_id, "kind": kind}, ensure_ascii=False)
        self._drafts[0].file.write(f'{start[:-1]}, "embedding": {json_text(embedding)}}}\n'.encode())


class NpyWriter(Writer):
    """An array (rows, dim), whose header is written again when the number of rows is known."""

    extras = (".meta.json", ".rows.jsonl")

    def _write(self, row_id: str, kind: str, embedding: Any) -> None:
        array, _, rows = (draft.file for draft in self._drafts)
        if self.num_rows == 1:
            self._description = {"descr": embedding.dtype.str, "fortran_order": False}
            self._width = len(embedding)
            self._write_header(0)
        array.write(embedding.tobytes())
        rows.write(json.dumps({"id": row_id, "kind": kind}, ensure_ascii=False).encode() + b"\n")

    def _write_header(self, num_rows: int) -> None:
        # numpy pads the header so that the first axis may grow to 21 digits in place.
        shape = (num_rows, self._width)
        header = {**self._description, "shape": shape}
        np.lib.format.write_array_header_1_0(self._drafts[0].file, header)  # type: ignore[no-untyped-call]

    def _finish(self) -> None:
        if self.num_rows:
            self._drafts[0].file.seek(0)
            self._write_header(self.num_rows)
        super()._finish()


_WRITERS: dict[str, type[Writer]] = {".parquet": ParquetWriter, ".jsonl": JsonlWriter, ".npy": NpyWriter}


def open_writer(path: Path, metadata: Mapping[str, Any]) -> Writer:
    """Opens the writer for the path's suffix."""
    return _WRITERS[path.suffix.lower()](path, metadata)


def output_files(path: Path) -> list[Path]:
    """All the files that writing to `path` makes."""
    return [path, *(path.with_name(path.name + extra) for extra in _WRITERS[path.suffix.lower()].extras)]


def check_output(
    path: Path, inputs: Iterable[str] = (), *, multivector: bool = False, embedding_type: str = "float"
) -> None:
    """Raises OptionError for a path that can't be written or is an input, or whose format can't hold such vectors."""
    suffix = path.suffix.lower()
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        raise OptionError(f"output {str(path)!r} is an address: write to a file here, and copy it there")
    if suffix not in _WRITERS:
        raise OptionError(f"output {str(path)!r} ends in {suffix!r}{suggest(suffix, _WRITERS)}")
    if suffix == ".npy" and (multivector or embedding_type == "base64"):
        what = "multi-vectors, which differ in length" if multivector else "base64"
        raise OptionError(f"a .npy file can't hold {what}: choose .parquet or .jsonl")
    if path.is_dir():
        raise OptionError(f"output {str(path)!r} is a folder: give the name of a file")
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise OptionError(f"output {str(path)!r}: there is no folder {str(folder)!r}, make it first")
    if not os.access(folder, os.W_OK):
        raise OptionError(f"output {str(path)!r}: {str(folder)!r} can't be written to")
    inputs = list(inputs)
    for file in output_files(path):
        check_target(file, inputs)


def arrow_column(embeddings: tuple[Any, ...]) -> Any:
    """An Arrow array of one row group's embeddings."""
    first = embeddings[0]
    if not isinstance(first, np.ndarray):
        return pa.array(embeddings, pa.string() if isinstance(first, str) else pa.list_(pa.string()))
    values = pa.array(np.concatenate([embedding.ravel() for embedding in embeddings]))
    if first.ndim == 1:
        return pa.FixedSizeListArray.from_arrays(values, len(first))
    lengths = np.array([len(embedding) for embedding in embeddings])
    tokens = np.arange(lengths.sum() + 1, dtype=np.int32) * first.shape[1]
    texts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(texts), pa.ListArray.from_arrays(pa.array(tokens, pa.int32()), values))


def json_text(embedding: Any) -> str:
    if isinstance(embedding, np.ndarray) and embedding.dtype == np.float32:
        if embedding.ndim == 2:
            return "[" + ", ".join(map(json_text, embedding)) + "]"
        # Nine digits give every float32 back exactly, and one format call is many times as fast as json.
        return "[" + ", ".join(["%.9g"] * len(embedding)) % tuple(embedding.tolist()) + "]"
    return json.dumps(embedding.tolist() if isinstance(embedding, np.ndarray) else embedding)
