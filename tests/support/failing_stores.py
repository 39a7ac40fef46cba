"""Models of bulk runs whose process can't store anything, or fails; spawned processes find them in this module."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

from deadly import fake_model
from jina_embeddings import JinaEmbeddings
from jina_embeddings.pipeline.shard_writer import ShardWriter


def with_small_files(log: Path) -> JinaEmbeddings:
    """A disk with room for the manifest and no shard."""
    log.open("a").write("began\n")
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    return fake_model()


def with_failing_writes(log: Path, error: Exception) -> JinaEmbeddings:
    """The second shard can't be written."""
    log.open("a").write("began\n")
    real = ShardWriter.write

    def write(self: Any, chunk: Any) -> None:
        if chunk.start >= 4:
            raise error
        real(self, chunk)

    ShardWriter.write = write  # type: ignore[method-assign]
    return fake_model()


def failing_load(log: Path) -> JinaEmbeddings:
    log.open("a").write("began\n")
    raise ZeroDivisionError("nothing to divide by")
