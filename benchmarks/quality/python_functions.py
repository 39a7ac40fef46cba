"""Python functions with their docstrings, read with `ast`."""

from __future__ import annotations

import ast
import textwrap
import warnings
from collections.abc import Iterator

from .documentation import first_paragraph

MAX_CODE_CHARACTERS = 1600


def python_functions(source: str) -> Iterator[tuple[str, str]]:
    """First paragraph of the docstring, and code without it, of every documented function that isn't trivial."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    lines = source.splitlines()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documentation = ast.get_docstring(node)
            query = first_paragraph(documentation) if documentation else ""
            if documentation and query and not trivial(node):
                yield query, without_docstring(node, lines)


def trivial(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether the body is too short to be found by a description."""
    body = node.body[1:]
    nodes = [part for statement in body for part in ast.walk(statement)]
    statements = sum(isinstance(part, ast.stmt) for part in nodes)
    if len(nodes) < 20 or (statements < 3 and len(nodes) < 30):
        return True
    length = 0
    for statement in body:
        length += len(ast.unparse(statement))
        if length >= 60:
            return False
    return True


def without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> str:
    """The function's code, cut to MAX_CODE_CHARACTERS."""
    documentation = node.body[0]
    kept = lines[node.lineno - 1 : documentation.lineno - 1] + lines[documentation.end_lineno : node.end_lineno]
    return cut(textwrap.dedent("\n".join(line.rstrip() for line in kept)))


def cut(code: str, length: int = MAX_CODE_CHARACTERS) -> str:
    """At most `length` characters, ending with a whole line."""
    if len(code) <= length:
        return code.strip("\n")
    return code[:length].rsplit("\n", 1)[0].strip("\n")
