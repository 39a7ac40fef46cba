"""All names of tasks and prompts, and errors with suggestions."""

from __future__ import annotations

import doctest

import pytest

from jina_embeddings.errors import UnknownPromptError, UnknownTaskError, suggest
from jina_embeddings.inputs import prompts
from jina_embeddings.inputs.prompts import DEFAULT_PROMPT, IMAGE_TEMPLATE, PREFIXES, resolve_task


def test_the_examples_in_the_docstrings_are_true() -> None:
    results = doctest.testmod(prompts)
    assert results.attempted > 0
    assert results.failed == 0


def test_prefixes_and_template_are_those_of_the_training() -> None:
    assert PREFIXES == {"query": "Query: ", "passage": "Passage: ", "code": "Code: "}
    assert DEFAULT_PROMPT == "query"
    assert IMAGE_TEMPLATE == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Describe the image.<|im_end|>\n"
    )


@pytest.mark.parametrize(
    ("task", "prompt_name", "expected"),
    [
        ("retrieval", None, ("retrieval", "query")),
        ("retrieval", "query", ("retrieval", "query")),
        ("retrieval", "passage", ("retrieval", "passage")),
        ("code", None, ("code", "query")),
        ("code", "passage", ("code", "passage")),
        ("code", "code", ("code", "code")),
        ("text-matching", None, ("text-matching", "query")),
        ("text-matching", "query", ("text-matching", "query")),
        ("text-matching", "passage", ("text-matching", "query")),
        ("retrieval.query", None, ("retrieval", "query")),
        ("retrieval.passage", None, ("retrieval", "passage")),
        ("retrieval.passage", "passage", ("retrieval", "passage")),
        ("code.query", None, ("code", "query")),
        ("code.passage", None, ("code", "passage")),
    ],
)
def test_task_and_prompt(task: str, prompt_name: str | None, expected: tuple[str, str]) -> None:
    assert resolve_task(task, prompt_name) == expected


@pytest.mark.parametrize(
    ("task", "meant"),
    [
        ("retreival", "retrieval"),
        ("text_matching", "text-matching"),
        ("text-matchng", "text-matching"),
        ("retrieval.pasage", "retrieval.passage"),
        ("code.querry", "code.query"),
    ],
)
def test_a_misspelled_task_gets_a_suggestion(task: str, meant: str) -> None:
    with pytest.raises(UnknownTaskError, match=f"'{task}'; did you mean '{meant}'"):
        resolve_task(task)


@pytest.mark.parametrize("task", ["", "zzz", "RETRIEVAL ", None, 3, ["retrieval"], {"task": "code"}])
def test_a_task_of_another_type_is_an_unknown_task_error(task: object) -> None:
    with pytest.raises(UnknownTaskError, match="retrieval"):
        resolve_task(task)  # type: ignore[arg-type]


@pytest.mark.parametrize("task", ["retrieval", "text-matching", "code"])
@pytest.mark.parametrize("prompt_name", ["Query", "Passage: ", "document", "", 1, ["query"]])
def test_a_prompt_of_another_type_is_an_unknown_prompt_error(task: str, prompt_name: object) -> None:
    with pytest.raises(UnknownPromptError, match=r"query|passage"):
        resolve_task(task, prompt_name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("task", "prompt_name"),
    [("retrieval.query", "passage"), ("code.passage", "query"), ("code.passage", "code"), ("code.query", "nonsense")],
)
def test_a_prompt_that_contradicts_the_task_is_refused(task: str, prompt_name: str) -> None:
    with pytest.raises(UnknownPromptError, match=f"'{task}'.*'{prompt_name}'"):
        resolve_task(task, prompt_name)


def test_suggestions_are_the_end_of_a_message() -> None:
    assert suggest("bluu", ["red", "blue"]) == "; did you mean 'blue'?"
    assert suggest("xyz", ["red", "blue"]) == ": choose one of 'red', 'blue'"
    assert suggest(None, iter(["red"])) == ": choose one of 'red'"
