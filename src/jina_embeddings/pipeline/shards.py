"""A shard: one Parquet file, there when all of its rows are, and done when its footer says so."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .folder import Folder

FOOTER = b"jina_embeddings.shard"


@dataclass(frozen=True, slots=True)
class Done:
    """The record in the footer of a finished shard.

    run: of which run it is a part.
    files: the size of each file of vectors beside it, in bytes.
    fragments: of the Lance dataset, as Lance describes them.
    cut: texts that were cut.
    """

    run: str
    shard: int
    rows: int
    rejected: int
    files: dict[str, int] = field(default_factory=dict)
    fragments: list[str] = field(default_factory=list)
    cut: int = 0


# Readers of a folder of Parquet files, such as pyarrow and Spark, pass over names that begin with an underscore.
def shard_name(shard: int) -> str:
    return f"shard-{shard:06d}.parquet"


def vectors_name(shard: int, column: str, suffix: str) -> str:
    """The name of a file of vectors beside a shard."""
    return f"_vectors/{shard:06d}.{column}{suffix}"


def rejects_name(shard: int) -> str:
    return f"_rejects/{shard:06d}.jsonl"


def read_done(folder: Folder, shard: int, run: str) -> Done | None:
    """None where the shard is not there, is torn, or is another run's. Raises OSError where it can't be read."""
    try:
        with folder.open(shard_name(shard)) as file:
            metadata = pq.read_metadata(file)
        done = Done(**json.loads(metadata.metadata[FOOTER]))
        if any(folder.size(name) != size for name, size in done.files.items()):
            return None
    except (FileNotFoundError, pa.ArrowInvalid, KeyError, ValueError, TypeError):
        return None
    except OSError as error:
        if error.errno is not None or isinstance(error, TimeoutError):
            raise
        return None  # Arrow says so of a torn file
    return done if (done.run, done.shard, done.rows) == (run, shard, metadata.num_rows) else None


def read_rows(folder: Folder, shard: int, columns: list[str] | None = None) -> Any:
    """Reads a shard as an Arrow table."""
    with folder.open(shard_name(shard)) as file:
        return pq.read_table(file, columns=columns)
