"""Headings and the text below them, out of HTML documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from lxml import etree, html

from prose import is_prose, squeeze

HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
BLOCKS = {"p", "li", "dd", "blockquote"}
DROPPED = (
    "//script|//style|//nav|//pre|//table|//*[contains(@class,'sphinxsidebar') or contains(@class,'headerlink') or "
    "contains(@class,'related') or contains(@class,'footer') or contains(@class,'navheader') or contains(@class,'navfooter') "
    "or contains(@class,'toc') or contains(@class,'nodisplay') or contains(@class,'mark') or @role='navigation' "
    "or self::footer or self::header[not(.//h1)]]"
)
NUMBER = re.compile(r"^(chapter|section|appendix|part)?\s*([0-9]+|[A-Z])(\.[0-9]+)*\.?\s+", re.I)


@dataclass
class Section:
    """`page` is the page's title, `heading` the nearest heading or term above `blocks`."""

    page: str
    heading: str
    blocks: list[str] = field(default_factory=list)


def sections(content: bytes) -> Iterator[Section]:
    """The sections of one page that have prose."""
    try:
        root = html.fromstring(content, parser=html.HTMLParser(encoding="utf-8"))
    except (etree.ParserError, ValueError):
        return
    for node in root.xpath(DROPPED):
        if node.getparent() is not None:
            node.drop_tree()
    body = root.find("body") if root.find("body") is not None else root
    title = squeeze((root.findtext(".//title") or "").split(" \u2014 ")[0].split(" | ")[0])
    current = Section(title, title)
    for node in body.iter():
        if not isinstance(node.tag, str):
            continue
        if node.tag in HEADINGS or node.tag == "dt":
            if current.blocks:
                yield current
            heading = NUMBER.sub("", squeeze(node.text_content()))
            current = Section(title, heading)
        elif node.tag in BLOCKS and not any(child.tag in BLOCKS for child in node.iterdescendants()):
            text = squeeze(node.text_content())
            if is_prose(text):
                current.blocks.append(text)
    if current.blocks:
        yield current
