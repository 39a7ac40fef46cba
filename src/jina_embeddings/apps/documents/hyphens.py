"""Words that a PDF cuts at the end of a line, whole again: without their hyphen, or with it where it is their own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from ...errors import DependencyError

if TYPE_CHECKING:
    from re import Match

_SOFT = re.compile("\u00ad\\s*")
_MARKED = re.compile("(\\w{0,40})[\x02\ufffe]\\s*(\\w{0,40})")
"""PDFium puts U+0002 in the place of a hyphen at a line's end, and U+FFFE in another of its functions.

Parts are bounded, since a word of a million letters would otherwise be looked through from each of them."""

_HYPHENATED = re.compile(r"(\w{1,40})-(?=(\w{1,40}))")


class Hyphens:
    """Decides for one document: pages, as PDFium reads them.

    A word that stands elsewhere in the document is written as it is there. Else it keeps its hyphen if its second part
    begins with a capital or a digit, or if it is no English word but both of its parts are.
    """

    def __init__(self, pages: Iterable[str]):
        self._words, self._hyphenated = set[str](), set[tuple[str, ...]]()
        for page in pages:
            lowered = page.lower()
            self._words.update(re.findall(r"\w+", _MARKED.sub(" ", lowered)))
            self._hyphenated.update(match.groups() for match in _HYPHENATED.finditer(lowered))

    def joined(self, page: str) -> str:
        """Raises DependencyError without pyspellchecker, for a page that has such words."""
        return _MARKED.sub(self._join, _SOFT.sub("", page))

    def _join(self, match: Match[str]) -> str:
        first, second = match.groups()
        return f"{first}-{second}" if self._has_hyphen(first, second) else first + second

    def _has_hyphen(self, first: str, second: str) -> bool:
        if not first or not second:
            return False
        parts = first.lower(), second.lower()
        if "".join(parts) in self._words:
            return False
        if parts in self._hyphenated or (second[0].isupper() and not first.isupper()) or second[0].isdigit():
            return True
        english = _english_words()
        return "".join(parts) not in english and all(part in english for part in parts)


@cache
def _english_words() -> Any:
    try:
        from spellchecker import SpellChecker
    except ImportError:
        raise DependencyError(
            "words cut at the end of a PDF's line need pyspellchecker: pip install 'jina-embeddings-vllm[apps]'"
        ) from None
    return SpellChecker(language="en").word_frequency
