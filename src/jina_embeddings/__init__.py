"""Jina Embeddings v4 at production speed: texts and images to vectors, on vLLM or Transformers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .embedder import JinaEmbeddings
    from .errors import JinaEmbeddingsError
    from .types import TASKS, Both, ModelInfo, Partial, Skipped, Task
    from .vectors.pooling import register_pooling

__version__ = "0.1.0"

# Loaded at first use: importing the package must stay cheap, since vLLM does it in every process.
_HOMES = {
    "Both": "types",
    "JinaEmbeddings": "embedder",
    "JinaEmbeddingsError": "errors",
    "ModelInfo": "types",
    "Partial": "types",
    "Skipped": "types",
    "TASKS": "types",
    "Task": "types",
    "register_pooling": "vectors.pooling",
}

__all__ = [
    "TASKS",
    "Both",
    "JinaEmbeddings",
    "JinaEmbeddingsError",
    "ModelInfo",
    "Partial",
    "Skipped",
    "Task",
    "__version__",
    "register_pooling",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
