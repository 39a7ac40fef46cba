"""Divides an HTML page into sections by its headings. Offsets of blocks are those of the page's source."""

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
"""Block elements. All others are inline, unknown ones too."""

_BREAKS = _BLOCKS | {"br"}
_LAYOUT = frozenset({"table", "main", "article", "section", "nav"} | _HEADINGS.keys() | _PREFORMATTED)
"""A table that contains one of these is used for layout, and its cells are read one by one, not row by row."""

_LOOK_AHEAD_CHARS = 80
_CELL_SEPARATOR = " | "


def html_sections(text: str) -> list[Section]:
    """Returns the sections of the first `main` element that has text, or else of the whole page.

    Broken markup is repaired as browsers do it. Navigation is left out. A row of a table becomes one line.

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
    """Collects the sections of a page or of one of its elements. left_out: ids of nodes to skip."""

    def __init__(self, page: Page, left_out: Set[int]):
        self._page, self._left_out = page, left_out
        self._trail: list[tuple[int, str]] = []
        self._sections: list[Section] = []
        self._blocks: list[Block] = []
        self._line: list[Any] = []
        self._is_ended = False

    def read(self, root: Any) -> list[Section]:
        # A stack of nodes, each with its next sibling; (None, None) marks the end of a block element.
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
                    self._is_ended = not self._is_inline(node, after)
                    if self._is_ended:
                        pending.append((None, None))
                children = children_of(node)
                pending.extend(reversed(list(zip(children, [*children[1:], None], strict=False))))
        self._end_section()
        return self._sections

    def _is_data(self, table: Any) -> bool:
        return not any(node.name in _LAYOUT for node in nodes_of(table, self._left_out) if node is not table)

    def _is_inline(self, node: Any, after: Any) -> bool:
        """Whether a `div` is part of a sentence, as some pages write acronyms: text follows it without a space."""
        if node.name != "div" or not self._line or after is None or after.name != "#text" or after.data[:1].isspace():
            return False
        _, end = self._page.span(self._line[-1:])
        if not self._page.source[end : end + _LOOK_AHEAD_CHARS].lstrip().lower().startswith("<div"):
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
        # Sphinx and others end a heading with one of these signs, as a link to itself.
        title = _words(nodes_of(heading, self._left_out)).rstrip("¶#").strip()
        self._trail = [(above, name) for above, name in self._trail if above < level] + [(level, title)]

    def _end_section(self) -> None:
        self._end_block()
        self._sections.append(Section(join_title(*(name for _, name in self._trail)), tuple(self._blocks)))
        self._blocks = []


def _is_main(node: Any) -> bool:
    return node.name == "main" or attributes_of(node).get("role") == "main"


def _rows(nodes: Iterable[Any]) -> Iterator[str]:
    """Yields one line for each row of a table, and one for each text outside rows, such as a caption."""
    rows: list[list[list[Any]]] = [[[]]]
    for node in nodes:
        if node.name in ("tr", "caption"):
            rows.append([[]])
        elif node.name in ("td", "th"):
            rows[-1].append([])
        rows[-1][-1].append(node)
    for row in rows:
        if line := _CELL_SEPARATOR.join(filter(None, map(_words, row))):
            yield line


def _raw(nodes: Iterable[Any]) -> str:
    return "".join(node.data if node.name == "#text" else "\n" for node in nodes if node.name in ("#text", "br"))


def _words(nodes: Iterable[Any]) -> str:
    """Returns the text of nodes as one line, with a space between blocks."""
    texts = (node.data if node.name == "#text" else " " if node.name in _BREAKS else "" for node in nodes)
    return " ".join("".join(texts).split())
