"""Where the vectors of a shard lie: in its Parquet file, in arrays beside it, or in a Lance dataset."""

from __future__ import annotations

import io
import json
from typing import Any, Protocol, TypeAlias

import numpy as np
import pyarrow as pa

from .folder import Folder
from .lance_table import write_fragments
from .provenance import Column, Form
from .shards import vectors_name
from .writers import arrow_column

_NUMBERS: dict[str, Any] = {
    "float": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "int8": np.dtype("i1"),
    "binary": np.dtype("i1"),
    "ubinary": np.dtype("u1"),
}
Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"
_TENSOR_TYPES = {"float": "F32", "float16": "F16", "int8": "I8", "binary": "I8", "ubinary": "U8"}
HEADER_BYTES = 1024
"""The header of a .safetensors file is padded to this, so that the numbers of each shard begin at the same byte."""


class Layout(Protocol):
    """Stores the vectors of a shard. in_shard: the columns of vectors that are in the shard's Parquet file."""

    in_shard: list[str]

    def write(self, table: Any, vectors: dict[str, Any], good: Mask) -> None:
        """table: all columns of some rows. vectors: see `Chunk`. good: which rows have vectors."""

    def commit(self) -> tuple[dict[str, int], list[str]]:
        """Makes the vectors last, before the shard itself does. Returns what `Done` has as files and fragments."""

    def discard(self) -> None: ...


class InParquet:
    """Columns of the shard itself."""

    def __init__(self, names: list[str]):
        self.in_shard = names

    def write(self, table: Any, vectors: dict[str, Any], good: Mask) -> None: ...

    def commit(self) -> tuple[dict[str, int], list[str]]:
        return {}, []

    def discard(self) -> None: ...


class InArrays:
    """A file for each column. Row r of a shard is r times the width of a row behind the header; rejected ones are
    zeros, or NaN where there is one."""

    def __init__(
        self, folder: Folder, shard: int, rows: int, columns: dict[str, Column], widths: dict[str, int], suffix: str
    ):
        self.in_shard: list[str] = []
        self._drafts = {}
        self._types = {name: (_NUMBERS[column.numbers], widths[name]) for name, column in columns.items()}
        for name, column in columns.items():
            file_name = vectors_name(shard, name, suffix)
            draft = self._drafts[name] = folder.draft(file_name)
            _write_header(draft.file, suffix, name, column, (rows, widths[name]))
        self._files = {name: vectors_name(shard, name, suffix) for name in columns}

    def write(self, table: Any, vectors: dict[str, Any], good: Mask) -> None:
        for name, draft in self._drafts.items():
            dtype, width = self._types[name]
            array = np.full((len(good), width), np.nan if dtype.kind == "f" else 0, dtype=dtype)
            if vectors:
                array[good] = vectors[name]
            draft.file.write(array.data)

    def commit(self) -> tuple[dict[str, int], list[str]]:
        sizes = {}
        for name, draft in self._drafts.items():
            sizes[self._files[name]] = draft.file.tell()
            draft.commit()
        return sizes, []

    def discard(self) -> None:
        for draft in self._drafts.values():
            draft.discard()


class InLance:
    """Fragments of one dataset, which has them when the last shard is done: see `lance_table`."""

    def __init__(self, folder: Folder):
        self.in_shard: list[str] = []
        self._folder = folder
        self._tables: list[Any] = []

    def write(self, table: Any, vectors: dict[str, Any], good: Mask) -> None:
        self._tables.append(table)

    def commit(self) -> tuple[dict[str, int], list[str]]:
        return {}, write_fragments(self._folder, pa.concat_tables(self._tables))

    def discard(self) -> None:
        self._tables.clear()


def widths_of(form: Form, dimension: int, token_dimension: int) -> dict[str, int]:
    """Numbers that one vector of each column is stored as."""
    found = {}
    for name, column in form.columns.items():
        width = token_dimension if column.multivector else dimension
        found[name] = width // 8 if column.numbers.endswith("binary") else width
    return found


def types_of(form: Form, widths: dict[str, int]) -> dict[str, Any]:
    """Returns the Arrow type of each column of vectors."""
    return {name: _type_of(column, widths[name]) for name, column in form.columns.items()}


def _type_of(column: Column, width: int) -> Any:
    if column.numbers == "base64":
        return pa.list_(pa.string()) if column.multivector else pa.string()
    number = pa.from_numpy_dtype(_NUMBERS[column.numbers])
    return pa.list_(pa.list_(number)) if column.multivector else pa.list_(number, width)


def vectors_column(vectors: Any, good: Mask, type_: Any) -> Any:
    """Makes an Arrow array of a chunk's vectors, null for rows that have none. good: which rows have one."""
    if not good.any():
        return pa.nulls(len(good), type_)
    if isinstance(vectors, np.ndarray):
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    else:
        column = arrow_column(tuple(vectors))
    if not good.all():
        column = column.take(pa.array(np.cumsum(good) - 1, mask=~good))
    return column.cast(type_)


def read_array(data: bytes, suffix: str, name: str) -> Any:
    """Reads an array that `InArrays` wrote."""
    if suffix == ".npy":
        return np.load(io.BytesIO(data), allow_pickle=False)
    from safetensors.numpy import load

    return load(data)[name]


def _write_header(file: Any, suffix: str, name: str, column: Column, shape: tuple[int, int]) -> None:
    dtype = _NUMBERS[column.numbers]
    if suffix == ".npy":
        header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
        return
    size = shape[0] * shape[1] * dtype.itemsize
    tensor = {"dtype": _TENSOR_TYPES[column.numbers], "shape": shape, "data_offsets": [0, size]}
    file.write((HEADER_BYTES - 8).to_bytes(8, "little"))
    file.write(json.dumps({name: tensor}).encode().ljust(HEADER_BYTES - 8))
