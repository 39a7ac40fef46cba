"""The encoding that an HTML page says it is in."""

from __future__ import annotations

import re

from ...errors import DependencyError

_DECLARED = re.compile(
    rb"<\?xml[^>]*encoding\s*=\s*[\"']\s*([\w.:-]+)|<meta[^>]*charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE
)
_SEARCHED_BYTES = 4096


def declared_encoding(page: bytes) -> str:
    """Python's name for it, as browsers understand it: `iso-8859-1` is windows-1252.

    A page that says nothing, or nothing known, is in UTF-8 if it can be, else in windows-1252.

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
        # These words could not have been found in a page in UTF-16.
        return "utf-8"
    if encoding is None or encoding.name in _NOT_PYTHONS:
        name = "utf-8" if _is_in(page, "utf-8") else "cp1252"
    # Windows leaves five bytes undefined that browsers take for control characters.
    return "latin-1" if name == "cp1252" and not _is_in(page, name) else name


_NOT_PYTHONS = frozenset({"replacement", "x-user-defined"})


def _is_in(page: bytes, encoding: str) -> bool:
    try:
        page.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
