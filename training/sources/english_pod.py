"""Headings and the text below them, out of Perl's POD."""

from __future__ import annotations

import re
from collections.abc import Iterator

from english_html import Section
from prose import is_prose, squeeze

CODE = re.compile(r"[BCEFIL]<+\s?([^<>|]*)(?:\|[^<>]*)?\s?>+|[SXZ]<[^<>]*>")


def sections(content: bytes) -> Iterator[Section]:
    """The sections of one page that have prose."""
    page, current, skipped = "", Section("", ""), False
    for block in re.split(r"\n\s*\n", content.decode("utf-8", "replace")):
        block = block.strip("\n")
        command = re.match(r"=(\w+)\s*(.*)", block, re.DOTALL)
        if command:
            skipped = command[1] in {"begin", "for"} or (skipped and command[1] != "end")
            if command[1].startswith("head"):
                if current.blocks:
                    yield current
                current = Section(page, plain(command[2]))
        elif not skipped and block and not block[0].isspace():
            text = plain(block)
            if current.heading == "NAME" and " - " in text:
                page = text.split(" - ", 1)[1]
            elif is_prose(text):
                current.blocks.append(text)
    if current.blocks:
        yield current


def plain(text: str) -> str:
    """Without formatting codes; those inside others go first."""
    while (found := CODE.sub(lambda match: match[1] or "", text)) != text:
        text = found
    return squeeze(text)
