"""The tree of errors is drawn as it is, its codes are unique, and its leaves are raised."""

from __future__ import annotations

import ast
import inspect
import pickle
from pathlib import Path

import pytest

import jina_embeddings
from jina_embeddings import errors
from jina_embeddings.errors import JinaEmbeddingsError

ERRORS: list[type[JinaEmbeddingsError]] = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, JinaEmbeddingsError) and value.__module__ == errors.__name__
]

BUILT_IN_BASES = {
    "InputError": ValueError,
    "OptionError": TypeError,
    "EngineError": RuntimeError,
    "DependencyError": ImportError,
}


def drawn(error: type[JinaEmbeddingsError], before: str = "", branch: str = "", below: str = "") -> list[str]:
    """The lines of the tree from `error` down, as (tree and name) and code with one space between them."""
    bases = ", ".join(base.__name__ for base in error.__bases__ if not issubclass(base, JinaEmbeddingsError))
    title = f"{error.__name__} ({bases})" if bases and error is not JinaEmbeddingsError else error.__name__
    lines = [f"{before}{branch}{title} {error.code}"]
    children = [child for child in ERRORS if error in child.__bases__]
    for child in children:
        last = child is children[-1]
        lines += drawn(child, before + below, "└── " if last else "├── ", "    " if last else "│   ")
    return lines


def test_the_tree_in_the_docstring_is_the_class_hierarchy() -> None:
    documentation = inspect.getdoc(errors) or ""
    paragraph = next(part for part in documentation.split("\n\n") if "JinaEmbeddingsError" in part)
    lines = inspect.cleandoc(paragraph).splitlines()
    columns = {len(line) - len(line.split()[-1]) for line in lines}
    assert len(columns) == 1, "the codes stand in one column"
    (column,) = columns
    assert [f"{line[:column].rstrip()} {line[column:]}" for line in lines] == drawn(JinaEmbeddingsError)


def test_every_error_is_in_the_tree() -> None:
    assert len(drawn(JinaEmbeddingsError)) == len(ERRORS)


def test_every_code_is_used_once() -> None:
    codes = [error.code for error in ERRORS]
    assert len(set(codes)) == len(codes)
    assert all("code" in vars(error) for error in ERRORS), "an inherited code names another case"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_each_kind_is_also_the_built_in_error_that_callers_expect(error: type[JinaEmbeddingsError]) -> None:
    for name, built_in in BUILT_IN_BASES.items():
        assert issubclass(error, getattr(errors, name)) == issubclass(error, built_in)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_errors_can_be_pickled(error: type[JinaEmbeddingsError]) -> None:
    copy = pickle.loads(pickle.dumps(error("what to change")))
    assert type(copy) is error
    assert str(copy) == "what to change"
    assert copy.code == error.code


def test_every_leaf_of_the_tree_is_raised_somewhere() -> None:
    source = Path(jina_embeddings.__file__).parent
    made: set[str] = set()
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                made.add(getattr(node.func, "id", getattr(node.func, "attr", "")))
    finest = [error for error in ERRORS if not any(error in other.__bases__ for other in ERRORS)]
    assert [error.__name__ for error in finest if error.__name__ not in made] == []


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_has_a_docstring(error: type[JinaEmbeddingsError]) -> None:
    assert error.__doc__ != JinaEmbeddingsError.__doc__ or error is JinaEmbeddingsError
    assert error.__doc__
