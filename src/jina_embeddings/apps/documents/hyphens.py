"""Joins words that a PDF hyphenates at line ends, and keeps the hyphen of compounds such as `well-known`."""

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
"""PDFium returns U+0002, or from another function U+FFFE, for a hyphen at the end of a line.

The lengths of both parts are bounded, since a word of n letters without such a mark takes n^2 steps otherwise."""

_HYPHENATED = re.compile(r"(\w{1,40})-(?=(\w{1,40}))")


class Hyphens:
    """Decides which hyphens at line ends to keep in one document.

    A word that is elsewhere in the document, with or without a hyphen, is written as it is there. Any other word keeps
    its hyphen if its second part starts with a capital or a digit, or if both parts are English words and the whole is
    not.

    pages: all pages of the document, as PDFium returns them.
    """

    def __init__(self, pages: Iterable[str]):
        self._words, self._hyphenated = set[str](), set[tuple[str, ...]]()
        for page in pages:
            lowered = page.lower()
            self._words.update(re.findall(r"\w+", _MARKED.sub(" ", lowered)))
            self._hyphenated.update(match.groups() for match in _HYPHENATED.finditer(lowered))

    def joined(self, page: str) -> str:
        """Returns a page with its hyphenated words joined. Raises DependencyError if that needs pyspellchecker."""
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
