"""Characters that are no text: controls, in whatever a file or a library hands over, and soft hyphens."""

from __future__ import annotations

import re
from dataclasses import replace

from ..index import Passage

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
_SOFT_HYPHEN = "\u00ad"


def clean(text: str) -> str:
    """With a space in the place of each control character, and without soft hyphens."""
    return _CONTROL.sub(" ", text.replace(_SOFT_HYPHEN, ""))


def cleaned(passage: Passage) -> Passage:
    """The same with a clean title and text."""
    title, text = clean(passage.title), clean(passage.text)
    if (title, text) == (passage.title, passage.text):
        return passage
    # What is embedded has changed, and so has its digest; that of a picture is not made from these.
    return replace(passage, title=title, text=text, content=passage.content if passage.image else "")
