"""Cuts a source file into chunks: functions and methods, the code between them, and windows of lines elsewhere.

Chunks are in order, consist of whole lines and don't overlap. Parts of blank lines and closing words are left out.
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
"""The most characters of a chunk, about a thousand tokens. Longer ones are cut, if possible at a blank line in the last
third of the window."""

VERSION = 1
"""Version of the way files are cut: if it changes, every index cuts its files again."""

_WORD = re.compile(r"\w{2,}")
# Words that don't make a chunk worth indexing: they close or separate blocks.
_CLOSING_WORDS = frozenset({"end", "fi", "done", "esac", "else", "endif", "pass", "php"})


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a file.

    symbol: the name of the definition that it is, or is inside of; empty if there is none.
    first, last: its first and last line, counted from 1.
    start, end: its offsets in the file's text, in characters.
    """

    text: str
    symbol: str
    first: int
    last: int
    start: int
    end: int


def cut(path: str, text: str) -> Iterator[Chunk]:
    """The chunks of a file, whose language is known by its path or by a `#!` line.

    Raises DependencyError if tree-sitter is not installed.
    """
    # Lines as tree-sitter counts them; str.splitlines would also split at form feeds and other separators.
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
    """Cuts the whole file at its definitions: (first line, line after the last, symbol) of each part."""
    if language is None:
        yield 0, num_lines, ""
        return
    found = definitions(text.encode("utf-8", "replace"), language)
    whole = {one.first: one for one in _apart([definition for definition in found if definition.is_whole])}
    opened = [definition for definition in found if not definition.is_whole]
    edges = {0, num_lines, *(edge for one in opened for edge in (one.first, one.last + 1))}
    edges |= {edge for one in whole.values() for edge in (one.first, one.last + 1)}
    upcoming = iter(opened)
    after = next(upcoming, None)
    inside: list[Definition] = []
    at = 0
    for first, stop in pairwise(sorted(edges)):
        if first < at:
            continue
        while after is not None and after.first <= first:
            inside.append(after)
            after = next(upcoming, None)
        while inside and inside[-1].last < first:
            inside.pop()
        if (definition := whole.get(first)) is not None:
            at = definition.last + 1
            yield first, at, definition.symbol
        else:
            yield first, stop, inside[-1].symbol if inside else ""


def _apart(whole: list[Definition]) -> list[Definition]:
    """Joins each definition that begins on the last line of the one before with that one."""
    apart: list[Definition] = []
    for definition in whole:
        if apart and definition.first <= apart[-1].last:
            before = apart[-1]
            apart[-1] = Definition(before.first, max(before.last, definition.last), before.symbol, True)
        else:
            apart.append(definition)
    return apart


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
    return any(word not in _CLOSING_WORDS for word in _WORD.findall(text))
