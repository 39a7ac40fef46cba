"""Finds the definitions of a source file: their lines and their names."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .languages import Language, parser_of

# Node types that may contain a definition as its wrapper; their lines belong to the definition.
_WRAPPERS = frozenset(
    {
        "decorated_definition",
        "export_statement",
        "lexical_declaration",
        "variable_declaration",
        "expression_statement",
        "template_declaration",
        "type_declaration",
        "type_definition",
        "ambient_declaration",
    }
)
# Node types that belong to a definition if they are directly above it.
_ABOVE = frozenset({"comment", "line_comment", "block_comment", "attribute_item", "attribute_list"})
_FUNCTION_VALUES = frozenset(
    {"arrow_function", "function_expression", "generator_function", "function", "class", "lambda"}
)
_NAME_FIELDS = ("name", "declarator", "type", "left", "key")
_NAMES = frozenset(
    {
        "identifier",
        "field_identifier",
        "type_identifier",
        "property_identifier",
        "private_property_identifier",
        "qualified_identifier",
        "scoped_identifier",
        "namespace_identifier",
        "nested_namespace_specifier",
        "scope_resolution",
        "constant",
        "name",
        "word",
        "member_expression",
        "operator_name",
        "destructor_name",
        "generic_type",
        "scoped_type_identifier",
        "qualified_name",
        "setter",
        "operator",
        "string",
    }
)
_TYPE_ARGUMENTS = re.compile(r"<[^<>=]*>")


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition, as whole lines.

    first, last: its first and last line, counted from 0, with the comments and attributes above it.
    symbol: its qualified name, such as `Class.method`.
    is_whole: whether it is one chunk; otherwise its members are chunks.
    """

    first: int
    last: int
    symbol: str
    is_whole: bool


class _Siblings:
    """The named children of a node."""

    def __init__(self, nodes: list[Any]):
        self.nodes = nodes

    @cached_property
    def count(self) -> Counter[str]:
        """How many there are of each kind."""
        return Counter(node.type for node in self.nodes)


@dataclass(frozen=True, slots=True)
class _Place:
    """A node, and where it stands among its siblings: tree-sitter, asked for the node before one or for the one around
    it, looks that up from the root down, which takes as long as the file is."""

    node: Any
    parent: _Place | None
    siblings: _Siblings
    index: int

    @property
    def children(self) -> list[_Place]:
        siblings = _Siblings(self.node.named_children)
        return [_Place(node, self, siblings, index) for index, node in enumerate(siblings.nodes)]

    @property
    def is_alone(self) -> bool:
        """Whether no sibling is of its kind: `type ( A ...; B ... )` in Go has several."""
        return self.siblings.count[self.node.type] == 1


def definitions(source: bytes, language: Language) -> list[Definition]:
    """The definitions in the order of their first lines; those with broken syntax may be missing."""
    found: list[Definition] = []
    # Iterative, since a file may be nested deeper than Python's recursion limit.
    root = parser_of(language).parse(source).root_node
    pending: list[tuple[_Place, str]] = [(_Place(root, None, _Siblings([root]), 0), "")]
    while pending:
        place, scope = pending.pop()
        node = place.node
        is_whole = _is_whole(node, language)
        if is_whole or (node.type in language.open and _has_body(node)):
            name = _name_of(node)
            symbol = f"{scope}.{name}" if scope and name else name or scope
            first, last = _lines(place)
            found.append(Definition(first, last, symbol, is_whole))
            scope = symbol
        if not is_whole:
            pending += [(child, scope) for child in reversed(place.children)]
    return sorted(found, key=lambda definition: (definition.first, -definition.last))


def _is_whole(node: Any, language: Language) -> bool:
    if node.type in language.whole:
        return not node.type.endswith("_specifier") or _has_body(node)
    if language.name not in ("javascript", "typescript", "tsx"):
        return False
    fields = {"variable_declarator": "value", "assignment_expression": "right", "public_field_definition": "value"}
    value = node.child_by_field_name(fields[node.type]) if node.type in fields else None
    return value is not None and value.type in _FUNCTION_VALUES


def _has_body(node: Any) -> bool:
    """Whether a node has a body: a struct that is only mentioned, as in `struct stat *s`, has none."""
    return node.child_by_field_name("body") is not None or any(
        child.type.endswith(("body", "list", "block", "declaration_list")) for child in node.named_children
    )


def _name_of(node: Any) -> str:
    if node.type == "method_declaration" and node.child_by_field_name("receiver") is not None:
        return f"{_receiver(node)}{_text(node.child_by_field_name('name'))}"
    for field in _NAME_FIELDS:
        named = node.child_by_field_name(field)
        # In C, the name is nested in pointer, array and function declarators.
        while named is not None and named.type not in _NAMES:
            inner = named.child_by_field_name("declarator") or named.child_by_field_name("name")
            named = inner or next((child for child in named.named_children if child.type in _NAMES), None)
        if named is not None:
            return _TYPE_ARGUMENTS.sub("", _text(named)).replace("::", ".").strip("\"'")
    return ""


def _receiver(node: Any) -> str:
    """The receiver type of a Go method and a dot, without the pointer and without type parameters."""
    pending = [node.child_by_field_name("receiver")]
    while pending:
        inner = pending.pop()
        if inner.type == "type_identifier":
            return f"{_text(inner)}."
        pending += reversed(inner.named_children)
    return ""


def _lines(place: _Place) -> tuple[int, int]:
    while place.parent is not None and place.parent.node.type in _WRAPPERS and place.is_alone:
        place = place.parent
    first, last = place.node.start_point[0], place.node.end_point[0]
    if place.node.end_point[1] == 0 and last > first:
        last -= 1
    nodes = place.siblings.nodes
    for index in range(place.index - 1, -1, -1):
        above = nodes[index]
        if above.type not in _ABOVE or not 0 <= first - _last_line(above) <= 1:
            break
        # A comment behind code on the same line belongs to that code.
        if index and _last_line(nodes[index - 1]) == above.start_point[0]:
            break
        first = above.start_point[0]
    return first, last


def _last_line(node: Any) -> int:
    line, column = node.end_point
    return int(line - 1 if column == 0 else line)


def _text(node: Any) -> str:
    return "" if node is None else str(node.text.decode("utf-8", "replace"))
