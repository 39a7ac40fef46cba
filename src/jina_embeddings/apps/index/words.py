"""Prepares texts for the full-text index, so that identifiers are found whole and by their parts.

LanceDB splits texts into words, and normalises case, accents and English endings.
"""

from __future__ import annotations

import re

COLUMN = "words"

# Each word is looked up, which takes tens of microseconds.
_MAX_QUERY_CHARACTERS = 20_000

_IDENTIFIER = re.compile(r"[^\W\d]\w*")


def cut(query: str) -> str:
    """Returns the beginning of a query that is longer than words are looked up of."""
    return query if len(query) <= _MAX_QUERY_CHARACTERS else query[:_MAX_QUERY_CHARACTERS].rpartition(" ")[0]


def searchable(text: str) -> str:
    """Returns the text, followed by the parts of each identifier that has more than one part.

    >>> searchable("call readFile_now(HTTPServer2)")
    'call readFile_now(HTTPServer2)\\nread File now HTTP Server2'
    """
    parts: dict[str, None] = {}
    for match in _IDENTIFIER.finditer(text):
        humps = _humps(match[0])
        if len(humps) > 1:
            parts.update(dict.fromkeys(humps))
    return f"{text}\n{' '.join(parts)}" if parts else text


def _humps(name: str) -> list[str]:
    """
    >>> _humps("parseHTMLFile_2")
    ['parse', 'HTML', 'File', '2']
    """
    humps, start = [], 0
    for place in range(1, len(name)):
        before, here, after = name[place - 1], name[place], name[place + 1 : place + 2]
        # A part begins with a capital after a lower-case letter, or before one.
        capital = here.isupper() and (not before.isupper() or after.islower())
        if capital or "_" in (before, here):
            humps.append(name[start:place])
            start = place
    return [hump for hump in (*humps, name[start:]) if hump != "_"]
