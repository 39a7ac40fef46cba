"""The first paragraph of a docstring or doc comment as plain text, without markup."""

from __future__ import annotations

import inspect
import re

ROLE = re.compile(r":[a-zA-Z:+-]+:`~?!?([^`<]*?)(?:\s*<[^`>]*>)?`")
LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)|\[([^\]]+)\]\[[^\]]*\]")
JSDOC_LINK = re.compile(r"\{@(?:link|linkcode|code)\s+([^}|]*?)(?:\|[^}]*)?\}")
TAG = re.compile(r"</?[a-zA-Z][^<>]{0,60}>")
FIELD = re.compile(
    r"^(?::\w|@\w|>>>|Parameters?\b|Returns?:|Args:|Example|\.\. |Deprecated|TODO|See |Copyright|DEPRECATED)"
)
SENTENCE_FIELD = re.compile(r"\s(?::param|:return|:type|:rtype|@param|@return|Args:|Parameters:|Returns:).*$", re.S)
LONGEST = 500


def plain(text: str) -> str:
    """One paragraph without reST, Markdown or JSDoc markup and with single spaces."""
    text = ROLE.sub(r"\1", text)
    text = JSDOC_LINK.sub(r"\1", text)
    text = LINK.sub(lambda found: found[1] or found[2], text)
    text = TAG.sub("", text)
    text = text.replace("``", "").replace("`", "").replace("**", "").replace("\\\n", "\n")
    return re.sub(r"\s+", " ", text).strip(" *-=#~")


def first_paragraph(documentation: str) -> str:
    """The description as a search query; empty if it is not English prose."""
    for block in re.split(r"\n\s*\n", inspect.cleandoc(documentation)):
        block = block.strip()
        if not block or set(block) <= set("-=~*# \n"):
            continue
        if FIELD.match(block):
            return ""
        text = SENTENCE_FIELD.sub("", " " + plain(block)).strip()
        if len(text) > LONGEST:
            text = text[:LONGEST].rsplit(". ", 1)[0]
        if good(text):
            return text
        return ""
    return ""


def good(text: str) -> bool:
    """English prose of at least four words: mostly ASCII letters and spaces."""
    letters = sum(c.isascii() and (c.isalpha() or c == " ") for c in text)
    return len(text) >= 18 and len(text.split()) >= 4 and letters >= 0.75 * len(text)
