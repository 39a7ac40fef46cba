"""Finds the encoding that an HTML page declares."""

from __future__ import annotations

import re

from ...errors import DependencyError

_DECLARED = re.compile(
    rb"<\?xml[^>]*encoding\s*=\s*[\"']\s*([\w.:-]+)|<meta[^>]*charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE
)
_SEARCHED_BYTES = 4096


def declared_encoding(page: bytes) -> str:
    """Returns Python's name of a page's encoding, by the rules of browsers: `iso-8859-1` means windows-1252.

    A page without a known label is UTF-8 if it decodes as such, else windows-1252.

    Raises DependencyError without webencodings.
    """
    try:
        import webencodings
    except ImportError:
        raise DependencyError("HTML needs webencodings: pip install 'jina-embeddings-vllm[apps]'") from None
    found = _DECLARED.search(page, 0, _SEARCHED_BYTES)
    encoding = webencodings.lookup((found[1] or found[2]).decode("ascii")) if found else None
    name = "" if encoding is None else encoding.codec_info.name
    if name.startswith("utf-"):
        # A label of UTF-16 is wrong: the pattern matches bytes of ASCII, which such a page doesn't have.
        return "utf-8"
    if encoding is None or encoding.name in _UNKNOWN_TO_PYTHON:
        name = "utf-8" if _decodes(page, "utf-8") else "cp1252"
    # Python's cp1252 leaves five bytes undefined, which browsers read as control characters.
    return "latin-1" if name == "cp1252" and not _decodes(page, name) else name


_UNKNOWN_TO_PYTHON = frozenset({"replacement", "x-user-defined"})


def _decodes(page: bytes, encoding: str) -> bool:
    try:
        page.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
