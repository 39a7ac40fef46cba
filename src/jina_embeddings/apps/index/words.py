"""The text that words are looked up in: identifiers are there whole and cut at their humps.

What is a word, and what of it counts (case, accents, English endings), is LanceDB's business.
"""

from __future__ import annotations

import re

COLUMN = "words"

_IDENTIFIER = re.compile(r"[^\W\d]\w*")


def searchable(text: str) -> str:
    """The text, and after it the parts of each identifier that has more than one.

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
        # A capital begins a part after a small letter, and before one.
        capital = here.isupper() and (not before.isupper() or after.islower())
        if capital or "_" in (before, here):
            humps.append(name[start:place])
            start = place
    return [hump for hump in (*humps, name[start:]) if hump != "_"]
