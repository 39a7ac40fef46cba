"""Code search: a repository cut at its functions and classes, found by words, by code and by documentation."""

from __future__ import annotations

from .chunks import Chunk, cut
from .repository import Repository
from .search import CodeSearch

__all__ = ["Chunk", "CodeSearch", "Repository", "cut"]
