"""Cuts sections, which are blocks of text under headings, into passages of bounded size, with their offsets."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_SPACE = re.compile(r"\s*")
_BREAKS = (re.compile(r"\n"), re.compile(r"[.!?。！？]['\")\]]*\s|[。！？]"), re.compile(r"\s"))
"""Where a block may be cut if it is too long, best first: after a line, a sentence, a word."""


@dataclass(frozen=True, slots=True)
class Block:
    """A text that should stay in one passage, such as a paragraph. start, end: its offsets in the document."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Section:
    """The blocks under one heading. title: that heading and those above it, `Guide > Install`."""

    title: str
    blocks: tuple[Block, ...]


def join_title(*headings: str) -> str:
    return " > ".join(filter(None, headings))


def cut(sections: Iterable[Section], size: int, separator: str = "\n\n") -> Iterator[tuple[str, Block]]:
    """Yields (title, block) of each passage, which joins neighbouring blocks of a section up to `size` characters.

    A section without text has no passages. If no section has any, their titles become the text of one passage.
    """
    bare: list[str] = []
    empty = True
    for section in sections:
        if not any(block.text.strip() for block in section.blocks):
            bare.append(section.title)
        for block in _packed(section.blocks, size, separator):
            empty = False
            yield section.title, block
    if empty and any(bare):
        yield "", Block("\n".join(filter(None, bare)), 0, 0)


def paragraphs(text: str, start: int = 0, end: int | None = None) -> Iterator[Block]:
    """Yields the paragraphs of `text[start:end]`, which blank lines separate."""
    first: int | None = None
    last = position = start
    for line in text[start:end].split("\n"):
        if line and not line.isspace():
            first = position if first is None else first
            last = position + len(line)
        elif first is not None:
            yield trimmed(text, first, last)
            first = None
        position += len(line) + 1
    if first is not None:
        yield trimmed(text, first, last)


def trimmed(text: str, start: int, end: int) -> Block:
    """Returns `text[start:end]` without white space at its ends, as a block with the offsets of what is left."""
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    return Block(piece.strip(), start, start + len(piece.strip()))


class Lines:
    """The line numbers, from 1, of the offsets of a text."""

    def __init__(self, text: str):
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def at(self, offset: int) -> int:
        return bisect_right(self._starts, offset)


def _packed(blocks: Iterable[Block], size: int, separator: str) -> Iterator[Block]:
    group: list[Block] = []
    length = 0
    for block in blocks:
        for piece in _split(block, size):
            if group and length + len(separator) + len(piece.text) > size:
                yield _joined(group, separator)
                group, length = [], 0
            group.append(piece)
            length += len(piece.text) + (len(separator) if len(group) > 1 else 0)
    if group:
        yield _joined(group, separator)


def _joined(group: list[Block], separator: str) -> Block:
    return Block(separator.join(block.text for block in group), group[0].start, group[-1].end)


def _split(block: Block, size: int) -> Iterator[Block]:
    text = block.text
    if len(text) <= size:
        if text:
            yield block
        return
    exact = block.end - block.start == len(text)
    at, stop = 0, len(text.rstrip())
    while stop - at > size:
        head = trimmed(text, at, at + _break(text[at : at + size], size))
        # If the text isn't a slice of the document, as in HTML, a piece has the offsets of its block.
        where = (block.start + head.start, block.start + head.end) if exact else (block.start, block.end)
        yield Block(head.text, *where)
        at = _after_space(text, head.end)
    if at < stop:
        yield Block(text[at:stop], block.start + at if exact else block.start, block.end)


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _break(text: str, size: int) -> int:
    """Returns where to cut: after the last break in the second half, of the best kind there is, or else at `size`."""
    for pattern in _BREAKS:
        ends = [match.end() for match in pattern.finditer(text, size // 2, size)]
        if ends:
            return ends[-1]
    return size
