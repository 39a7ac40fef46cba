"""Code search: a repository is cut at its functions and classes, and searched with words, code or documentation."""

from __future__ import annotations

from .chunks import Chunk, cut
from .repository import Repository
from .search import CodeSearch

__all__ = ["Chunk", "CodeSearch", "Repository", "cut"]
