"""Reads README.md and docs/ for tests: their fenced blocks, tables, sections and inline code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    """A fenced block. info: what follows the language. line: the line of its opening fence, counted from 1."""

    language: str
    info: str
    line: int
    text: str


def blocks(page: str) -> Iterator[Block]:
    for match in re.finditer(r"^```(\w*) *(.*)\n((?:.*\n)*?)```$", page, re.MULTILINE):
        yield Block(match[1], match[2].strip(), page.count("\n", 0, match.start()) + 1, match[3])


def prose(page: str) -> str:
    return re.sub(r"^```.*\n(?:.*\n)*?```$", "", page, flags=re.MULTILINE)


def section(page: str, title: str) -> str:
    """The text between a heading and the next one of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", prose(page), re.MULTILINE | re.DOTALL)
    assert found, f"no heading {title!r}"
    return found[1]


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a text as lists of rows of cells, header first."""
    found = []
    for block in re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE):
        rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines()]
        assert {len(row) for row in rows} == {len(rows[0])}, rows[0]
        found.append([row for row in rows if not set("".join(row)) <= set("-: ")])
    return found


def code_of(text: str) -> list[str]:
    """Inline code of a text, without its backticks."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)


def first_cells(rows: list[list[str]]) -> list[str]:
    """The code in the first column, below the header."""
    return [code for row in rows[1:] for code in code_of(row[0])]
