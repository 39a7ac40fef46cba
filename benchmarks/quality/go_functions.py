"""Go functions with the comments above them, read with tree-sitter."""

from __future__ import annotations

import re
from collections.abc import Iterator

import tree_sitter_go
from tree_sitter import Language, Node, Parser

from .documentation import first_paragraph
from .python_functions import cut

GO = Language(tree_sitter_go.language())
FUNCTIONS = {"function_declaration", "method_declaration"}
STATEMENT = re.compile(r"statement|declaration|_expression$")
LICENCE = re.compile(r"copyright|licen[sc]e|@fileoverview|eslint-", re.I)
MIN_BODY_BYTES = 60


def go_functions(source: str) -> Iterator[tuple[str, str]]:
    """First paragraph of the comment, and code, of every documented function that isn't trivial."""
    content = source.encode()
    stack = [Parser(GO).parse(content).root_node]
    while stack:
        node = stack.pop()
        stack.extend(reversed(node.children))
        if node.type in FUNCTIONS:
            query = first_paragraph(_documentation(node))
            body = node.child_by_field_name("body")
            if query and body is not None and not _trivial(body):
                code = content[node.start_byte : node.end_byte].decode(errors="replace")
                yield query, cut(_dedent(code, node.start_point[1]))


def _documentation(node: Node) -> str:
    """The text of the line comments right above a node, without slashes; empty if there is none."""
    parts: list[str] = []
    below, above = node.start_point[0], node.prev_sibling
    while above is not None:
        text = (above.text or b"").decode(errors="replace")
        gap = below - above.end_point[0] - (1 if text.endswith("\n") else 0)
        if "comment" not in above.type or gap > 1 or LICENCE.search(text):
            break
        if not text.startswith("//") or text.startswith("//go:"):
            break
        parts.append(text.strip().lstrip("/").lstrip("!").removeprefix(" "))
        below, above = above.start_point[0], above.prev_sibling
    return "\n".join(reversed(parts))


def _trivial(body: Node) -> bool:
    text = re.sub(rb"\s+", b" ", body.text or b"")
    statements = parts = 0
    stack = [body]
    while stack:
        node = stack.pop()
        stack.extend(node.named_children)
        parts += 1
        statements += bool(STATEMENT.search(node.type))
    return len(text) < MIN_BODY_BYTES or parts < 16 or statements < 2


def _dedent(code: str, column: int) -> str:
    """Takes a node's own indentation from its later lines."""
    first, *rest = code.splitlines() or [""]
    shared = re.compile(rf"^[ \t]{{0,{column}}}")
    return "\n".join([first, *(shared.sub("", line).rstrip() for line in rest)])
