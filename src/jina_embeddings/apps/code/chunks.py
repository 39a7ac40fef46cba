"""A file of source code in pieces: its functions and methods, what is between them, and windows of lines elsewhere.

Pieces are whole lines, in order, and don't overlap; what is in none of them is blank or closes something.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from .definitions import Definition, definitions
from .languages import Language, language_of

MAX_CHARS = 4000
"""About a thousand tokens; longer pieces are cut, at a blank line if there is one in their last third."""

VERSION = 1
"""Of the way files are cut: another one makes every index cut them again."""

_WORDS = re.compile(r"\w{2,}")
_CLOSERS = frozenset({"end", "fi", "done", "esac", "else", "endif", "pass", "php"})


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file.

    first, last: lines from 1, both included. start, end: in characters. symbol: what it defines or is in, or nothing.
    """

    text: str
    symbol: str
    first: int
    last: int
    start: int
    end: int


def cut(path: str, text: str) -> Iterator[Chunk]:
    """The pieces of a file; its language is found by the path, or by a `#!` line.

    Raises DependencyError without tree-sitter.
    """
    # As tree-sitter counts them: form feeds and other separators that Python knows end no line.
    lines = list(io.StringIO(text, newline="\n"))
    language = language_of(path, text)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for first, stop, symbol in _pieces(text, len(lines), language):
        for start, end in _windows(lines, first, stop):
            piece = "".join(lines[start:end])
            if not _says_something(piece):
                continue
            for offset in range(0, len(piece), MAX_CHARS) if end - start == 1 else (0,):
                part = piece[offset : offset + MAX_CHARS] if end - start == 1 else piece
                begin = starts[start] + offset
                yield Chunk(part, symbol, start + 1, end, begin, begin + len(part))


def _pieces(text: str, num_lines: int, language: Language | None) -> Iterator[tuple[int, int, str]]:
    """(first line, line after the last, symbol) over the whole file."""
    if language is None:
        yield 0, num_lines, ""
        return
    found = definitions(text.encode("utf-8", "replace"), language)
    whole = _apart([definition for definition in found if definition.is_whole])
    opened = [definition for definition in found if not definition.is_whole]
    edges = {0, num_lines, *(edge for one in opened for edge in (one.first, one.last + 1))}
    at = 0
    for definition in [*whole, None]:
        stop = num_lines if definition is None else definition.first
        for first, last in pairwise(sorted({at, stop, *(edge for edge in edges if at < edge < stop)})):
            yield first, last, _around(first, opened)
        if definition is not None:
            at = definition.last + 1
            yield definition.first, at, definition.symbol


def _apart(whole: list[Definition]) -> list[Definition]:
    """Those that share a line with the one before belong to it."""
    apart: list[Definition] = []
    for definition in whole:
        if apart and definition.first <= apart[-1].last:
            before = apart[-1]
            apart[-1] = Definition(before.first, max(before.last, definition.last), before.symbol, True)
        else:
            apart.append(definition)
    return apart


def _around(line: int, opened: list[Definition]) -> str:
    inside = [definition for definition in opened if definition.first <= line <= definition.last]
    return inside[-1].symbol if inside else ""


def _windows(lines: list[str], first: int, stop: int) -> Iterator[tuple[int, int]]:
    start, size = first, 0
    for number in range(first, stop):
        if number > start and size + len(lines[number]) > MAX_CHARS:
            end = next(
                (
                    line + 1
                    for line in range(number - 1, start + (number - start) * 2 // 3, -1)
                    if lines[line].isspace()
                ),
                number,
            )
            yield start, end
            start, size = end, sum(map(len, lines[end:number]))
        size += len(lines[number])
    if start < stop:
        yield start, stop


def _says_something(text: str) -> bool:
    return any(word not in _CLOSERS for word in _WORDS.findall(text))
