"""Retrieval: an index of files, the context for a language model, and a page to search with."""

from __future__ import annotations

from .context import CountTokens, context
from .indexing import KIND, index_files

__all__ = ["KIND", "CountTokens", "context", "index_files"]
