"""Loads a vLLM engine that a test holds beside its model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jina_embeddings import JinaEmbeddings
from jina_embeddings.checkpoint import open_checkpoint
from jina_embeddings.engine.choice import load_engine
from jina_embeddings.options import make_options


@contextmanager
def vllm_loaded(folder: Path, **options: Any) -> Iterator[tuple[JinaEmbeddings, Any]]:
    """Yields a model and its engine, a `VllmEngine` or `Replicas`."""
    engine = load_engine("vllm", open_checkpoint(folder, engine="vllm"), make_options(options, "vllm"))
    with JinaEmbeddings(folder, engine=engine, **options) as model:
        yield model, engine
