"""A million short rows from Parquet to Parquet: a bulk run with the fake engine, compared with pyarrow alone.

    python benchmarks/bulk_rows.py [--rows 1000000] [--dim 2048] [--folder /tmp/bulk_rows]

Each part is a process of its own. pyarrow alone reads the same rows and writes the same columns, with vectors that are
there already, as the shards are written. CPU seconds are of the process and what it started; memory is its largest.
`engine_cpu_seconds` is what the fake engine's tokens and vectors took of it, a work that a device does in earnest.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import resource
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jina_embeddings import JinaEmbeddings
from jina_embeddings.checkpoint.fake import WordTokenizer
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.pipeline import Form, Share, status
from jina_embeddings.pipeline.folder import Folder
from jina_embeddings.pipeline.job import Job
from jina_embeddings.pipeline.manifest import locked
from jina_embeddings.pipeline.plan import Plan
from jina_embeddings.pipeline.shard_writer import WRITE_BATCH_VALUES
from jina_embeddings.pipeline.sources import survey

SHARD_ROWS = 100_000
_WORDS = [f"word{number}" for number in range(1000)]


def make_rows(path: Path, num_rows: int) -> None:
    """Writes rows of three words, in row groups of 100,000."""
    choose = np.random.default_rng(0)
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())])) as writer:
        for start in range(0, num_rows, SHARD_ROWS):
            numbers = choose.integers(len(_WORDS), size=(min(SHARD_ROWS, num_rows - start), 3))
            texts = [" ".join(_WORDS[number] for number in row) for row in numbers]
            writer.write_table(pa.table({"text": texts}))


_engine_s: list[float] = []


def timed(work: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the processor seconds of each call to `_engine_s`."""

    def call(*arguments: Any, **options: Any) -> Any:
        start = time.thread_time()
        result = work(*arguments, **options)
        _engine_s.append(time.thread_time() - start)
        return result

    return call


def bulk(inputs: Path, folder: Path, dim: int, share: str) -> None:
    FakeEngine.run = timed(FakeEngine.run)  # type: ignore[method-assign]
    WordTokenizer.encode_batch_fast = timed(WordTokenizer.encode_batch_fast)  # type: ignore[method-assign]
    plan = Plan(survey([str(inputs)]).sources, SHARD_ROWS)
    into, part = Folder.at(folder), Share.parse(share)
    with JinaEmbeddings(engine="fake") as model, locked(into, part):
        gc.freeze()  # as the process that embeds does
        Job(into, plan, Form(truncate_dim=dim), part).work(model, lambda *_: None)


def pyarrow_alone(inputs: Path, output: Path, dim: int) -> None:
    """Reads the rows and writes shards with the columns of a bulk run."""
    vectors = np.random.default_rng(0).standard_normal((4096, dim), dtype=np.float32)
    output.mkdir()
    writer: Any = None
    row = 0
    for batch in pq.ParquetFile(inputs).iter_batches(batch_size=4096):
        rows = np.arange(row, row + batch.num_rows)
        flat = pa.array(vectors[: batch.num_rows].reshape(-1))
        errors = pa.nulls(batch.num_rows, pa.string())
        columns = {
            "row": pa.array(rows),
            "id": pa.array(np.char.add("rows.parquet:", rows.astype(str)).tolist()),
            "kind": pa.array(["text"] * batch.num_rows),
            "embedding": pa.FixedSizeListArray.from_arrays(flat, dim),
            "error_code": errors,
            "error": errors,
        }
        table = pa.table(columns)
        if writer is None:
            names = [name for name in columns if name != "embedding"]
            writer = pq.ParquetWriter(
                output / f"{row}.parquet",
                table.schema,
                compression=dict.fromkeys(names, "zstd"),
                use_dictionary=["kind", "error_code"],
                write_statistics=["row", "id"],
                write_batch_size=WRITE_BATCH_VALUES,
            )
        writer.write_table(table)
        if row // SHARD_ROWS != (row + batch.num_rows) // SHARD_ROWS:
            writer.close()
            writer = None
        row += batch.num_rows
    if writer is not None:
        writer.close()


def measured(work: Callable[[], None], results: Any) -> None:
    start = time.perf_counter()
    work()
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    results.put(
        {
            "seconds": round(time.perf_counter() - start, 2),
            "cpu_seconds": round(own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime, 2),
            "engine_cpu_seconds": round(sum(_engine_s), 2),
            "memory_gib": round(own.ru_maxrss / 2**20, 3),
        }
    )


def in_process(*works: Callable[[], None]) -> list[dict[str, float]]:
    """Runs each in a process of its own, at the same time; returns what each took."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=measured, args=(work, results)) for work in works]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return found


def main() -> None:
    from from_tools import write_result  # imports torch, which the processes that are measured have no use for

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/bulk_rows"))
    arguments = parser.parse_args()
    folder, dim = arguments.folder, arguments.dim
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    inputs = folder / "rows.parquet"
    make_rows(inputs, arguments.rows)
    load = [round(value, 1) for value in os.getloadavg()]
    found = {}
    (found["pyarrow"],) = in_process(partial(pyarrow_alone, inputs, folder / "alone", dim))
    shutil.rmtree(folder / "alone")
    (found["bulk"],) = in_process(partial(bulk, inputs, folder / "one", dim, "1/1"))
    assert status(folder / "one").rows_done == arguments.rows
    shutil.rmtree(folder / "one")
    shares = in_process(*(partial(bulk, inputs, folder / "two", dim, f"{number}/2") for number in (1, 2)))
    found["two shares"] = {
        "seconds": max(share["seconds"] for share in shares),
        "cpu_seconds": round(sum(share["cpu_seconds"] for share in shares), 2),
        "engine_cpu_seconds": round(sum(share["engine_cpu_seconds"] for share in shares), 2),
        "memory_gib": max(share["memory_gib"] for share in shares),
    }
    shutil.rmtree(folder)
    without_engine = found["bulk"]["cpu_seconds"] - found["bulk"]["engine_cpu_seconds"]
    rates = {name: round(arguments.rows / values["cpu_seconds"]) for name, values in found.items()}
    write_result(
        "bulk_rows",
        {
            "rows": arguments.rows,
            "dimension": dim,
            "measured": found,
            "rows_per_cpu_second": rates,
            "of_pyarrow_by_cpu": round(rates["bulk"] / rates["pyarrow"], 2),
            "of_pyarrow_by_cpu_without_engine": round(found["pyarrow"]["cpu_seconds"] / without_engine, 2),
            "load_before": load,
            "of_pyarrow_by_time": round(found["pyarrow"]["seconds"] / found["bulk"]["seconds"], 2),
            "two_shares_of_pyarrow_by_time": round(found["pyarrow"]["seconds"] / found["two shares"]["seconds"], 2),
        },
    )


if __name__ == "__main__":
    main()
