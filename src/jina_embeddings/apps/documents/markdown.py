"""Divides a Markdown text into sections by its headings; a list, a table or a block of code is one block."""

from __future__ import annotations

from ...errors import DependencyError
from .sections import Block, Section, join_title, trimmed


def markdown_sections(text: str) -> list[Section]:
    """Returns the sections of a Markdown text. Raises DependencyError without markdown-it-py."""
    try:
        from markdown_it import MarkdownIt
    except ImportError:
        raise DependencyError("Markdown needs markdown-it-py: pip install 'jina-embeddings-vllm[apps]'") from None

    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    sections: list[Section] = []
    trail: list[tuple[int, str]] = []
    blocks: list[Block] = []
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for index, token in enumerate(tokens):
        if token.level or token.map is None or token.type.endswith("_close"):
            continue
        if token.type == "heading_open":
            sections.append(_section(trail, blocks))
            depth = int(token.tag[1:])
            trail = [(level, title) for level, title in trail if level < depth]
            trail.append((depth, tokens[index + 1].content.strip()))
            blocks = []
        elif (block := trimmed(text, starts[token.map[0]], min(starts[token.map[1]], len(text)))).text:
            blocks.append(block)
    sections.append(_section(trail, blocks))
    return sections


def _section(trail: list[tuple[int, str]], blocks: list[Block]) -> Section:
    return Section(join_title(*(title for _, title in trail)), tuple(blocks))
