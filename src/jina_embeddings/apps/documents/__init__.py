"""Turns files into documents: text, Markdown, HTML, PDF, office files and images, cut into passages by structure."""

from __future__ import annotations

from .files import Files
from .options import CutOptions

__all__ = ["CutOptions", "Files"]
