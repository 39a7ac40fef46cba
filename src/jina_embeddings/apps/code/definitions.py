"""Finds the definitions of a source file: their lines and their names."""

from __future__ import annotations

import re
from dataclasses import dataclass
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


def definitions(source: bytes, language: Language) -> list[Definition]:
    """The definitions in the order of their first lines; those with broken syntax may be missing."""
    found: list[Definition] = []
    # Iterative, since a file may be nested deeper than Python's recursion limit.
    pending: list[tuple[Any, str]] = [(parser_of(language).parse(source).root_node, "")]
    while pending:
        node, scope = pending.pop()
        is_whole = _is_whole(node, language)
        if is_whole or (node.type in language.open and _has_body(node)):
            name = _name_of(node)
            symbol = f"{scope}.{name}" if scope and name else name or scope
            first, last = _lines(node)
            found.append(Definition(first, last, symbol, is_whole))
            scope = symbol
        if not is_whole:
            pending += [(child, scope) for child in reversed(node.named_children)]
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
    types = [_text(child) for child in _walk(node.child_by_field_name("receiver")) if child.type == "type_identifier"]
    return f"{types[0]}." if types else ""


def _walk(node: Any) -> list[Any]:
    return [node, *(found for child in node.named_children for found in _walk(child))]


def _lines(node: Any) -> tuple[int, int]:
    while node.parent is not None and node.parent.type in _WRAPPERS and _is_around(node.parent, node):
        node = node.parent
    first, last = node.start_point[0], node.end_point[0]
    if node.end_point[1] == 0 and last > first:
        last -= 1
    above = node.prev_named_sibling
    while above is not None and above.type in _ABOVE and 0 <= first - _last_line(above) <= 1:
        # A comment behind code on the same line belongs to that code.
        before = above.prev_named_sibling
        if before is not None and _last_line(before) == above.start_point[0]:
            break
        first, above = above.start_point[0], before
    return first, last


def _is_around(parent: Any, node: Any) -> bool:
    """Whether the parent wraps this node alone, unlike `type ( A ...; B ... )` in Go."""
    return [child.type for child in parent.named_children].count(node.type) == 1


def _last_line(node: Any) -> int:
    line, column = node.end_point
    return int(line - 1 if column == 0 else line)


def _text(node: Any) -> str:
    return "" if node is None else str(node.text.decode("utf-8", "replace"))
