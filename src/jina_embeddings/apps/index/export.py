"""An index as the folder of a bulk run, for other stores and for another index; no model is needed.

Rows are in the order of paths and positions, so that the same index gives the same folder however it has been written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa

from ... import __version__
from ...errors import EmptyInputError, InputError
from ...pipeline.chunks import Chunk
from ...pipeline.columns import has_all_numbers, matrix_of
from ...pipeline.job import Job, widths_of_run
from ...pipeline.manifest import Manifest, Share, folder_for, locked
from ...pipeline.plan import Plan
from ...pipeline.provenance import Form, shortened
from ...pipeline.records import Fields
from ...pipeline.rows import Failure, Row
from ...pipeline.shard_writer import ShardWriter
from ...pipeline.sources import Source
from ...pipeline.stretch import Stretch
from . import multivectors
from .fingerprint import Fingerprint
from .lock import written_by_us
from .rows import to_passage
from .store import Store

SHARD_ROWS = 10_000
SHARD_BYTES = 256 * 2**20
"""Of multi-vectors in a shard, about: whoever reads one has it in memory."""

KEPT: list[tuple[str, Any]] = [
    *((name, pa.string()) for name in ("path", "text", "title", "image", "metadata", "content", "state")),
    *((name, pa.int64()) for name in ("start", "end", "line", "end_line", "position", "of")),
]
"""Columns beside `row`, `id` and `kind`. Metadata is JSON, paths are the index's own, those of images absolute."""

NUMBERS = {"float16": "float16", "int8": "int8", "binary": "ubinary"}
"""What a run calls the number formats of stored multi-vectors."""

_CHUNK_ROWS = 256


def export(
    store: Store,
    into: str | os.PathLike[str],
    *,
    layout: str = "parquet",
    multivector: bool = True,
    shard_rows: int | None = None,
    advance: Callable[[int], None] | None = None,
) -> int:
    """See `Index.export`."""
    made_with = store.fingerprint
    also = (f"multivector-{NUMBERS[made_with.multivector]}",) if multivector and made_with.multivector else ()
    form = Form(made_with.task, "passage", truncate_dim=made_with.dimension, also=also, layout=layout)
    form.check()
    folder = folder_for(into)
    with written_by_us(store.address), locked(folder, Share()):
        order = store.order()
        if not len(order):
            raise EmptyInputError(f"{store.address} is empty: there is nothing to export")
        shard_rows = shard_rows or (_fitting(store, len(order)) if also else SHARD_ROWS)
        source = Source(store.address, "index", len(order), digest=_digest(order))
        plan = Plan([source], shard_rows, Fields(keep=tuple(name for name, _ in KEPT)))
        manifest = Manifest.read(folder)
        if manifest is not None:
            manifest.check_inputs(plan, form, folder)
        else:
            manifest = Manifest(plan, form, _made_by(made_with, store.root)).write(folder)
        job = Job(folder, plan, form)
        done = job.done(manifest)
        for shard in job.shards:
            start, stop = plan.span(shard)
            if shard not in done:
                _write(store, order["_rowid"].slice(start, stop - start), job, manifest, shard)
            if advance is not None:
                advance(stop - start)
        if layout == "lance":
            job.commit_dataset(manifest, KEPT)
    return len(order)


def _write(store: Store, row_ids: Any, job: Job, manifest: Manifest, shard: int) -> None:
    span, widths = job.plan.span(shard), widths_of_run(manifest)
    with ShardWriter(job.folder, manifest.run, shard, span, job.form, widths, KEPT) as writer:
        for start in range(0, len(row_ids), _CHUNK_ROWS):
            rows = store.rows(row_ids.slice(start, _CHUNK_ROWS).to_pylist())
            writer.write(_chunk(rows, span[0] + start, list(job.form.columns), store.root))
        writer.commit()


def _chunk(rows: pa.Table, start: int, columns: list[str], root: str | None) -> Chunk:
    vectors = matrix_of(rows["vector"])
    whole = has_all_numbers(vectors)
    beside = rows.drop_columns([name for name in ("vector", multivectors.COLUMN) if name in rows.column_names])
    items = list(_items(beside, whole, root))
    embeddings: list[Any] = [vectors[whole]]
    if len(columns) > 1:
        tokens = multivectors.stored(rows[multivectors.COLUMN])
        embeddings.append([tokens[row] for row in np.flatnonzero(whole)])
    rows_of = Stretch.of(items, [name for name, _ in KEPT])
    return Chunk(start, rows_of, dict(zip(columns, embeddings, strict=True)) if whole.any() else {})


def _items(rows: pa.Table, whole: Any, root: str | None) -> Iterator[Row | Failure]:
    for row, has_vector in zip(rows.to_pylist(), whole, strict=True):
        passage = to_passage(row, root)
        kept = {name: row[name] for name, _ in KEPT if name != "metadata"}
        kept |= {"image": passage.image, "metadata": json.dumps(dict(passage.metadata), ensure_ascii=False)}
        if has_vector:
            yield Row(row["id"], row["kind"], {}, kept)
        else:
            yield Failure(row["id"], InputError("the index has no whole vector of it: index its document again"), kept)


def _made_by(made_with: Fingerprint, root: str | None) -> dict[str, Any]:
    """What the manifest of a run says of the model, and what made the index beside."""
    return {
        "model": made_with.model,
        "revision": made_with.revision,
        "task": made_with.task,
        "prompt_name": "passage",
        "dimension": made_with.dimension,
        "multivector_dim": made_with.multivector_dim,
        "engine": None,
        "version": __version__,
        "probe": shortened(made_with.probe),
        "index": {"kind": made_with.kind, "token_pooling": made_with.token_pooling, "root": root},
    }


def _fitting(store: Store, num_rows: int) -> int:
    """Rows of a shard whose multi-vectors have about `SHARD_BYTES`, judged by a hundred rows."""
    sample = store.rows(store.order()["_rowid"].take(np.linspace(0, num_rows - 1, 100).astype(int)).to_pylist())
    bytes_per_row = sample[multivectors.COLUMN].nbytes / len(sample)
    return max(1, min(SHARD_ROWS, int(SHARD_BYTES / max(1, bytes_per_row))))


def _digest(order: pa.Table) -> str:
    digest = blake2b(digest_size=16)
    for name in ("id", "content", "state"):
        for value in order[name].to_pylist():
            digest.update(f"{value}\n".encode())
    return digest.hexdigest()
