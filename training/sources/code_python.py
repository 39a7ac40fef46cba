"""Python functions with their docstrings, read with `ast`."""

from __future__ import annotations

import ast
import random
import re
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from docs_text import first_paragraph

CODE_LENGTH = 1600
EXAMPLE_LENGTH = 600
COMPUTES = (ast.For, ast.While, ast.BinOp, ast.Compare, ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.SetComp)


@dataclass(frozen=True)
class Function:
    """`query` describes `code`; `masked` is None or the same pair with the function's name hidden."""

    query: str
    code: str
    masked: tuple[str, str] | None


def functions(source: str, rng: random.Random) -> Iterator[Function]:
    """Every documented function of one file that is more than a trivial getter."""
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
                code = without_docstring(node, lines)
                yield Function(query, code, masked(node, documentation, query, rng))


def trivial(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether the body is too short to say what the function does."""
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
    documentation = node.body[0]
    kept = lines[node.lineno - 1 : documentation.lineno - 1] + lines[documentation.end_lineno : node.end_lineno]
    return cut(textwrap.dedent("\n".join(line.rstrip() for line in kept)))


def cut(code: str, length: int = CODE_LENGTH) -> str:
    """At most `length` characters, ending with a whole line."""
    if len(code) <= length:
        return code.strip("\n")
    return code[:length].rsplit("\n", 1)[0].strip("\n")


def masked(
    node: ast.FunctionDef | ast.AsyncFunctionDef, documentation: str, query: str, rng: random.Random
) -> tuple[str, str] | None:
    """The pair with the function called `f`, without comments; only of functions that compute something.

    A third shows the body alone; a docstring with examples keeps them.
    """
    parts = [part for statement in node.body[1:] for part in ast.walk(statement)]
    on_object = bool(node.args.args) and node.args.args[0].arg in {"self", "cls"}
    if sum(isinstance(part, COMPUTES) for part in parts) < (4 if on_object else 2):
        return None
    name = re.compile(rf"\b{re.escape(node.name)}\b")
    body = [ast.unparse(statement) for statement in node.body[1:]]
    text = textwrap.indent("\n".join(body), "    ")
    if rng.random() < 0.67:
        text = f"def f({ast.unparse(node.args)}):\n{text}"
    if ">>>" in documentation and len(documentation) < 2 * EXAMPLE_LENGTH and rng.random() < 0.6:
        query = cut(documentation, EXAMPLE_LENGTH)
    return name.sub("f", query), cut(name.sub("f", text))
