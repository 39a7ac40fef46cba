"""Functions with the documentation comment above them, in JavaScript, TypeScript, Go and Rust, read with tree-sitter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import tree_sitter_go
import tree_sitter_javascript
import tree_sitter_rust
import tree_sitter_typescript
from tree_sitter import Language, Node, Parser

from code_python import cut
from docs_text import first_paragraph


@dataclass(frozen=True)
class Grammar:
    """How a language names its functions, what may hold one, and what may stand between comment and function."""

    language: Language
    functions: frozenset[str]
    holders: frozenset[str]
    between: frozenset[str]
    least_statements: int = 2


SCRIPT = {
    "functions": frozenset(
        {
            "function_declaration",
            "generator_function_declaration",
            "method_definition",
            "function_expression",
            "arrow_function",
        }
    ),
    "holders": frozenset(
        {
            "export_statement",
            "lexical_declaration",
            "variable_declaration",
            "variable_declarator",
            "expression_statement",
            "assignment_expression",
            "pair",
            "public_field_definition",
            "field_definition",
        }
    ),
    "between": frozenset({"decorator"}),
}
GRAMMARS = {
    "javascript": Grammar(Language(tree_sitter_javascript.language()), **SCRIPT),
    "typescript": Grammar(Language(tree_sitter_typescript.language_typescript()), **SCRIPT),
    "go": Grammar(
        Language(tree_sitter_go.language()),
        frozenset({"function_declaration", "method_declaration"}),
        frozenset(),
        frozenset(),
    ),
    "rust": Grammar(
        Language(tree_sitter_rust.language()), frozenset({"function_item"}), frozenset(), frozenset({"attribute_item"})
    ),
}
STATEMENT = re.compile(r"statement|declaration|_expression$")
LICENCE = re.compile(r"copyright|licen[sc]e|@fileoverview|eslint-", re.I)
SHORTEST_BODY = 60


def functions(source: str, name: str) -> Iterator[tuple[str, str]]:
    """Documentation's first paragraph and code of every documented function that does something."""
    grammar = GRAMMARS[name]
    content = source.encode()
    stack = [Parser(grammar.language).parse(content).root_node]
    while stack:
        node = stack.pop()
        stack.extend(reversed(node.children))
        if node.type in grammar.functions:
            top = _top(node, grammar)
            query = first_paragraph(_documentation(top, grammar))
            body = node.child_by_field_name("body")
            if query and body is not None and not _trivial(body):
                yield (
                    query,
                    cut(_dedent(content[top.start_byte : top.end_byte].decode(errors="replace"), top.start_point[1])),
                )


def _top(node: Node, grammar: Grammar) -> Node:
    """The outermost statement that holds only this function."""
    while node.parent is not None and node.parent.type in grammar.holders:
        node = node.parent
    return node


def _documentation(node: Node, grammar: Grammar) -> str:
    """The text of the comments right above a node, without comment signs; empty if there is none."""
    parts: list[str] = []
    below, above = node.start_point[0], node.prev_sibling
    while above is not None:
        if above.type in grammar.between:
            below, above = above.start_point[0], above.prev_sibling
            continue
        text = (above.text or b"").decode(errors="replace")
        gap = below - above.end_point[0] - (1 if text.endswith("\n") else 0)
        if "comment" not in above.type or gap > 1 or LICENCE.search(text):
            break
        if text.startswith("/**"):
            return _block(text)
        if not text.startswith(("//", "///")) or text.startswith("//go:"):
            break
        parts.append(text.strip().lstrip("/").lstrip("!").removeprefix(" "))
        below, above = above.start_point[0], above.prev_sibling
    return "\n".join(reversed(parts))


def _block(text: str) -> str:
    """A /** comment as plain lines, with the text of a leading @description or @summary."""
    lines = [re.sub(r"^\s*\*? ?", "", line) for line in text.removeprefix("/**").removesuffix("*/").splitlines()]
    plain = "\n".join(lines).strip()
    return re.sub(r"^@(desc(ription)?|summary|function|method|memberof\s+\S+)\s*", "", plain)


def _trivial(body: Node) -> bool:
    text = re.sub(rb"\s+", b" ", body.text or b"")
    statements = parts = 0
    stack = [body]
    while stack:
        node = stack.pop()
        stack.extend(node.named_children)
        parts += 1
        statements += bool(STATEMENT.search(node.type))
    return len(text) < SHORTEST_BODY or parts < 16 or statements < 2


def _dedent(code: str, column: int) -> str:
    """Takes a node's own indentation from its later lines."""
    first, *rest = code.splitlines() or [""]
    shared = re.compile(rf"^[ \t]{{0,{column}}}")
    return "\n".join([first, *(shared.sub("", line).rstrip() for line in rest)])
