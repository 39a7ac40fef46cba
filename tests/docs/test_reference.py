"""docs/api_reference.md lists the public names, arguments and tasks as they are."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from typing import Any

import jina_embeddings
from inputs import COSINE
from jina_embeddings import JinaEmbeddings
from jina_embeddings.calls.options import EncodeOptions, ImageOptions, TextOptions
from jina_embeddings.engine.padded import PaddedEngine
from jina_embeddings.engine.vllm.engine import VllmEngine
from jina_embeddings.inputs.prompts import PREFIXES, resolve_task
from pages import ROOT, code_of, first_cells, prose, section, tables

REFERENCE = (ROOT / "docs" / "api_reference.md").read_text(encoding="utf-8")


def signature_of(function: Callable[..., Any], *without: str) -> dict[str, Any]:
    """The parameters with their defaults; `...` for those without one."""
    parameters = inspect.signature(function).parameters.values()
    return {
        parameter.name: ... if parameter.default is parameter.empty else parameter.default
        for parameter in parameters
        if parameter.name not in ("self", *without)
    }


def test_public_names() -> None:
    (table,) = tables(REFERENCE.partition("\n## ")[0])
    assert sorted(first_cells(table)) == sorted(set(jina_embeddings.__all__) - {"__version__"})


def test_arguments_of_the_constructor() -> None:
    table = tables(section(REFERENCE, "Construction"))[0]
    *rows, rest = table[1:]
    documented = {code_of(row[0])[0]: ast.literal_eval(code_of(row[1])[0]) for row in rows}
    assert documented == signature_of(JinaEmbeddings.__init__, "options")
    assert code_of(rest[0]) == ["**options"]


def test_arguments_of_the_encode_methods() -> None:
    table = tables(section(REFERENCE, "Arguments"))[0]
    typed = {"encode_text": TextOptions, "encode_image": ImageOptions, "encode": EncodeOptions}
    signatures = {
        "encode_text": signature_of(JinaEmbeddings.encode_text, "texts"),
        "encode_image": signature_of(JinaEmbeddings.encode_image, "images"),
    }
    # `encode` passes its keywords on: what it takes is in EncodeOptions, with the defaults of the other two.
    defaults = signatures["encode_text"] | signatures["encode_image"] | {"return_both": False}
    signatures["encode"] = {name: defaults[name] for name in EncodeOptions.__annotations__}
    for method, signature in signatures.items():
        column = table[0].index(f"`{method}`")
        rows = [row for row in table[1:] if row[column]]
        assert {code_of(row[0])[0]: ast.literal_eval(code_of(row[1])[0]) for row in rows} == signature
        assert set(typed[method].__annotations__) == set(signature), f"a{method} takes what {method} takes"
    assert signature_of(JinaEmbeddings.stream)["chunk_size"] is None
    assert signature_of(JinaEmbeddings.astream)["chunk_size"] is None
    assert VllmEngine.chunk_size == 256
    assert PaddedEngine.chunk_size == 64
    assert "256 on vLLM and 64 elsewhere" in section(REFERENCE, "Streams")


def public_attributes() -> set[str]:
    with JinaEmbeddings(engine="fake") as model:
        return {name for name in {*dir(model), *vars(model)} if not name.startswith("_")}


def test_every_public_method_and_attribute_is_mentioned() -> None:
    codes = code_of(prose(REFERENCE))
    mentioned = {re.sub(r"^(?:model|JinaEmbeddings)\.|\(.*$", "", code) for code in codes}
    assert sorted(public_attributes() - mentioned) == []


def test_tasks_and_prompts() -> None:
    (table,) = tables(section(REFERENCE, "Tasks and prompts"))
    for task, prompt, text, _ in table[1:]:
        (prefix,) = [code.removesuffix("{text}") for code in code_of(text)]
        for name in code_of(task):
            chosen = code_of(prompt)[0] if code_of(prompt) else "passage"
            assert PREFIXES[resolve_task(name, chosen)[1]] == prefix
            if "default" in prompt:
                assert PREFIXES[resolve_task(name)[1]] == prefix
    codes = set(code_of(section(REFERENCE, "Tasks and prompts")))
    assert {"retrieval.query", "retrieval.passage", "code.query", "code.passage"} <= codes
    assert {*jina_embeddings.TASKS, *PREFIXES} <= codes


def test_the_cosine_between_engines_is_the_one_that_tests_ask_for() -> None:
    assert f"a cosine of {COSINE} or more" in REFERENCE
