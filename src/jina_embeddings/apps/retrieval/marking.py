"""Marks the words of a question in a text."""

from __future__ import annotations

import html
import re
import unicodedata

_WORD = re.compile(r"\w+")
_STEM_CHARACTERS = 4
_ENDING_CHARACTERS = 3
"""Two words are forms of one if they begin with the same 4 or more characters and at most 3 follow these."""


def mark(text: str, question: str) -> str:
    """The text as HTML, with words of the question, and forms of them, in `<mark>`; everything else is escaped.

    Case and accents are ignored.

    >>> mark("<b> Breads are baked", "café bread")
    '&lt;b&gt; <mark>Breads</mark> are baked'
    """
    wanted = {_folded(word) for word in _WORD.findall(question)}

    def shown(word: str) -> str:
        escaped = html.escape(word)
        return f"<mark>{escaped}</mark>" if any(_same(_folded(word), other) for other in wanted) else escaped

    pieces, done = [], 0
    for match in _WORD.finditer(text):
        pieces += [html.escape(text[done : match.start()]), shown(match[0])]
        done = match.end()
    return "".join([*pieces, html.escape(text[done:])])


def _same(word: str, other: str) -> bool:
    if word == other:
        return True
    common = next((n for n, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), min(len(word), len(other)))
    return common >= _STEM_CHARACTERS and max(len(word), len(other)) - common <= _ENDING_CHARACTERS


def _folded(word: str) -> str:
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))
