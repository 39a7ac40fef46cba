"""Real texts that every machine has: the docstrings of Python's standard library."""

from __future__ import annotations

import ast
import random
import sysconfig
from functools import cache
from pathlib import Path


def docstrings(count: int, *, seed: int = 0, least: int = 20, most: int = 4000) -> list[str]:
    """`count` distinct docstrings of `least` to `most` characters, in an order that depends on the seed only.

    Raises:
        ValueError: the standard library doesn't have as many.
    """
    texts = [text for text in _all_docstrings() if least <= len(text) <= most]
    if len(texts) < count:
        raise ValueError(f"only {len(texts)} docstrings of {least} to {most} characters, {count} asked for")
    random.Random(seed).shuffle(texts)
    return texts[:count]


@cache
def _all_docstrings() -> list[str]:
    """All distinct docstrings, sorted."""
    found: set[str] = set()
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        if "site-packages" in path.parts or "dist-packages" in path.parts or "test" in path.parts:
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                found.add(ast.get_docstring(node) or "")
    return sorted(found)
