"""Stores passages with their vectors on disk, updates them as their documents change, and searches them.

documents -> Index.update -> Store (LanceDB) <- Index.search
"""

from __future__ import annotations

from .index import Index
from .passage import Document, Hit, Passage
from .search import SearchOptions
from .update import Summary

__all__ = ["Document", "Hit", "Index", "Passage", "SearchOptions", "Summary"]
