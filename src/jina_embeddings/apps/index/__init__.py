"""An index on disk: passages with their vectors, kept in step with the documents that they come from.

documents -> Index.update -> Store (LanceDB) <- Index.search
"""

from __future__ import annotations

from .index import Index
from .passage import Document, Hit, Passage
from .search import SearchOptions
from .update import Summary

__all__ = ["Document", "Hit", "Index", "Passage", "SearchOptions", "Summary"]
