"""Sections of an HTML page: its headings, and the text of its blocks. Offsets are those of the page's source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any

from .navigation import navigation_of
from .page import WITHOUT_TEXT, Page, attributes_of, children_of, is_words, nodes_of
from .sections import Block, Section, join_title

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_PREFORMATTED = frozenset({"pre", "listing", "plaintext", "xmp"})
_BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "dir", "div"}
    | {"dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "frameset", "header", "hgroup", "hr", "html"}
    | {"legend", "li", "main", "menu", "nav", "ol", "option", "p", "search", "section", "summary"}
    | {"table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"}
    | _HEADINGS.keys()
    | _PREFORMATTED
)
"""Everything else stands within a line: `acronym`, `big`, and what a page has made up."""

_BREAKS = _BLOCKS | {"br"}
_LAYOUT = frozenset({"table", "main", "article", "section", "nav"} | _HEADINGS.keys() | _PREFORMATTED)
"""A table with such cells is there for its looks: its cells aren't read by rows."""

_LOOK_AHEAD = 80
_CELL_JOINT = " | "


def html_sections(text: str) -> list[Section]:
    """Of the element `main` if there is one with text, else of the whole page.

    Broken markup is repaired as browsers do. Navigation is left out, and the cells of a row stand in one line.

    Raises DependencyError without justhtml.
    """
    page = Page(text)
    left_out = navigation_of(page.root)
    for main in filter(_is_main, nodes_of(page.root)):
        sections = _Reader(page, left_out).read(main)
        if any(section.blocks for section in sections):
            return sections
    return _Reader(page, left_out).read(page.root)


class _Reader:
    """One reading of a page, or of a part of it. left_out: ids of nodes."""

    def __init__(self, page: Page, left_out: Set[int]):
        self._page, self._left_out = page, left_out
        self._trail: list[tuple[int, str]] = []
        self._sections: list[Section] = []
        self._blocks: list[Block] = []
        self._line: list[Any] = []
        self._is_ended = False

    def read(self, root: Any) -> list[Section]:
        # Nodes, each with the one that follows it in its parent; None for the end of a block.
        pending: list[tuple[Any, Any]] = [(root, None)]
        while pending:
            node, after = pending.pop()
            if node is None:
                self._is_ended = True
            elif node.name in ("#text", "br"):
                self._add(node)
            elif node.name in _HEADINGS:
                self._start_section(_HEADINGS[node.name], node)
            elif node.name in _PREFORMATTED:
                self._add_block(node, lambda nodes: _raw(nodes).strip("\n").rstrip())
            elif node.name == "table" and self._is_data(node):
                self._add_block(node, lambda nodes: "\n".join(_rows(nodes)))
            elif node.name not in WITHOUT_TEXT and id(node) not in self._left_out:
                if node.name in _BLOCKS:
                    self._is_ended = not self._is_within_a_line(node, after)
                    if self._is_ended:
                        pending.append((None, None))
                children = children_of(node)
                pending.extend(reversed(list(zip(children, [*children[1:], None], strict=False))))
        self._end_section()
        return self._sections

    def _is_data(self, table: Any) -> bool:
        return not any(node.name in _LAYOUT for node in nodes_of(table, self._left_out) if node is not table)

    def _is_within_a_line(self, node: Any, after: Any) -> bool:
        """Whether a `div` stands in a sentence, as some handbooks write an acronym: right before the text goes on."""
        if node.name != "div" or not self._line or after is None or after.name != "#text" or after.data[:1].isspace():
            return False
        _, end = self._page.span(self._line[-1:])
        if not self._page.source[end : end + _LOOK_AHEAD].lstrip().lower().startswith("<div"):
            return False
        return not any(inner.name in _BLOCKS for inner in nodes_of(node, self._left_out) if inner is not node)

    def _add(self, node: Any) -> None:
        if self._is_ended and is_words(node):
            self._end_block()
        if self._line or is_words(node):
            self._line.append(node)

    def _end_block(self) -> None:
        if self._line:
            self._blocks.append(Block(_words(self._line), *self._page.span(self._line)))
        self._line, self._is_ended = [], False

    def _add_block(self, node: Any, read: Callable[[list[Any]], str]) -> None:
        self._end_block()
        nodes = list(nodes_of(node, self._left_out))
        if text := read(nodes):
            self._blocks.append(Block(text, *self._page.span(nodes)))

    def _start_section(self, level: int, heading: Any) -> None:
        self._end_section()
        # The sign that Sphinx and others put behind a heading as its link.
        title = _words(nodes_of(heading, self._left_out)).rstrip("¶#").strip()
        self._trail = [(above, name) for above, name in self._trail if above < level] + [(level, title)]

    def _end_section(self) -> None:
        self._end_block()
        self._sections.append(Section(join_title(*(name for _, name in self._trail)), tuple(self._blocks)))
        self._blocks = []


def _is_main(node: Any) -> bool:
    return node.name == "main" or attributes_of(node).get("role") == "main"


def _rows(nodes: Iterable[Any]) -> Iterator[str]:
    """The rows of a table as lines; what stands in no row, such as a caption, as a line of its own."""
    rows: list[list[list[Any]]] = [[[]]]
    for node in nodes:
        if node.name in ("tr", "caption"):
            rows.append([[]])
        elif node.name in ("td", "th"):
            rows[-1].append([])
        rows[-1][-1].append(node)
    for row in rows:
        if line := _CELL_JOINT.join(filter(None, map(_words, row))):
            yield line


def _raw(nodes: Iterable[Any]) -> str:
    return "".join(node.data if node.name == "#text" else "\n" for node in nodes if node.name in ("#text", "br"))


def _words(nodes: Iterable[Any]) -> str:
    """In one line; there is space between blocks."""
    texts = (node.data if node.name == "#text" else " " if node.name in _BREAKS else "" for node in nodes)
    return " ".join("".join(texts).split())
