"""Removes control characters and soft hyphens from the text of passages, whatever file or library it comes from."""

from __future__ import annotations

import re
from dataclasses import replace

from ..index import Passage

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
_SOFT_HYPHEN = "\u00ad"


def clean(text: str) -> str:
    """Returns the text with each control character replaced by a space, and without soft hyphens."""
    return _CONTROL.sub(" ", text.replace(_SOFT_HYPHEN, ""))


def cleaned(passage: Passage) -> Passage:
    """Returns the passage with a clean title and text."""
    title, text = clean(passage.title), clean(passage.text)
    if (title, text) == (passage.title, passage.text):
        return passage
    # `content` is a digest of what is embedded: an image, which stays the same, or the text, whose digest "" renews.
    return replace(passage, title=title, text=text, content=passage.content if passage.image else "")
