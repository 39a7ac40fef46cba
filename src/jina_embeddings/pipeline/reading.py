"""The rows of a finished run with their vectors, whatever its layout, for whoever would embed them again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InputError, RunError
from .folder import Folder
from .job import Job
from .lance_table import read_table
from .layouts import read_array
from .manifest import Manifest
from .shards import read_rows, vectors_name

if TYPE_CHECKING:
    from ..types import FloatArray

_COLUMN = "embedding"


class RunRows(NamedTuple):
    """Rows of a shard that were embedded.

    table: columns without vectors. vectors: float32 (rows, dimension).
    multivectors: an Arrow column, a list of lists of numbers a row, where it was asked for.
    """

    shard: int
    table: Any
    vectors: FloatArray
    multivectors: Any = None


def manifest_of(address: str | os.PathLike[str]) -> Manifest:
    """Reads the manifest of a run that has dense vectors. Raises RunError for no run, InputError for other vectors."""
    manifest = Manifest.read(Folder.at(address))
    if manifest is None:
        raise RunError(f"{address} holds no run: name the folder of a bulk run")
    form = manifest.form
    if form.multivector or form.embedding_type not in ("float", "float16"):
        what = "multi-vectors" if form.multivector else form.embedding_type
        raise InputError(f"{address} has {what} as its embedding: one dense vector of floats a row is needed")
    return manifest


def read_run(address: str | os.PathLike[str], multivector: str | None = None) -> Iterator[RunRows]:
    """Shard by shard, rejected rows left out.

    multivector: the column of multi-vectors that is wanted too, one of the manifest's `form.columns`.

    Raises as `manifest_of` does; RunError for a run that isn't finished.
    """
    folder, manifest = Folder.at(address), manifest_of(address)
    job = Job(folder, manifest.plan, manifest.form)
    done = job.done(manifest)
    if len(done) < manifest.plan.num_shards:
        raise RunError(
            f"{address} has {len(done):,} of {manifest.plan.num_shards:,} shards: finish the run with the command that "
            "began it"
        )
    dimension = manifest.made_by["dimension"]
    for shard in sorted(done):
        table = read_rows(folder, shard)
        good = np.flatnonzero(np.asarray(table["error_code"].is_null()))
        vectors = _vectors(folder, manifest, shard, table).take(good, axis=0)
        tokens = None if multivector is None else _column(folder, manifest, shard, table, multivector).take(good)
        names = [name for name in table.column_names if not name.startswith(_COLUMN)]
        rows = table.select(names).take(good)
        yield RunRows(shard, rows, vectors.astype(np.float32).reshape(-1, dimension), tokens)


def _vectors(folder: Folder, manifest: Manifest, shard: int, table: Any) -> Any:
    """All rows of a shard; those that were rejected have any numbers."""
    layout, dimension = manifest.form.layout, manifest.made_by["dimension"]
    if layout in ("npy", "safetensors"):
        return read_array(folder.read(vectors_name(shard, _COLUMN, f".{layout}")), f".{layout}", _COLUMN)
    column = _column(folder, manifest, shard, table, _COLUMN)
    vectors = np.zeros((len(column), dimension), dtype=np.float32)
    vectors[np.flatnonzero(np.asarray(column.is_valid()))] = (
        column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension)
    )
    return vectors


def _column(folder: Folder, manifest: Manifest, shard: int, table: Any, name: str) -> Any:
    """Reads a column of vectors of all rows of a shard. table: the shard's Parquet file."""
    if manifest.form.layout == "lance":
        table = read_table(folder, *manifest.plan.span(shard), name)
    return table[name].combine_chunks()
