"""Files become documents: text, Markdown, HTML, PDF and pictures, cut into passages at their own structure."""

from __future__ import annotations

from .files import Files
from .options import CutOptions

__all__ = ["CutOptions", "Files"]
