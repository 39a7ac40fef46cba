"""Embeddings of every form as Arrow columns and as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa


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
