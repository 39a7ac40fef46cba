"""The prompts of texts and images, and the task names of the hosted API.

The model was trained with these prefixes, except `Code: `, which is available but never a default.
"""

from __future__ import annotations

from ..errors import UnknownPromptError, UnknownTaskError, suggest
from ..types import TASKS, Task

PREFIXES: dict[str, str] = {"query": "Query: ", "passage": "Passage: ", "code": "Code: "}
DEFAULT_PROMPT = "query"

IMAGE_TEMPLATE = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Describe the image.<|im_end|>\n"

_HOSTED: dict[str, tuple[Task, str | None]] = {
    "retrieval.query": ("retrieval", "query"),
    "retrieval.passage": ("retrieval", "passage"),
    "code.query": ("code", "query"),
    "code.passage": ("code", "passage"),
}


def resolve_task(task: str, prompt_name: str | None = None) -> tuple[Task, str]:
    """The task and the prompt name of a call.

    `"retrieval.query"` and the like, the hosted API's task names, contain the prompt name. Text matching is symmetric,
    so its prompt is always `query`.

    >>> resolve_task("code.passage")
    ('code', 'passage')
    >>> resolve_task("text-matching", "passage")
    ('text-matching', 'query')

    Raises:
        UnknownTaskError: there is no such task.
        UnknownPromptError: there is no such prompt, or it contradicts the prompt in the task's name.
    """
    if not isinstance(task, str):
        raise UnknownTaskError(f"a task is a str, not {type(task).__name__}{suggest(task, TASKS)}")
    if prompt_name is not None and not isinstance(prompt_name, str):
        raise UnknownPromptError(
            f"prompt_name is a str, not {type(prompt_name).__name__}{suggest(prompt_name, PREFIXES)}"
        )
    if task in _HOSTED:
        plain, implied = _HOSTED[task]
        if prompt_name is not None and prompt_name != implied:
            raise UnknownPromptError(
                f"task {task!r} already says prompt {implied!r}, but prompt_name is {prompt_name!r}: give one of them"
            )
        return plain, implied or DEFAULT_PROMPT
    if task not in TASKS:
        known = suggest(task, (*TASKS, *_HOSTED))
        raise UnknownTaskError(f"unknown task {task!r}{known}", argument="task", plain=f"there is no {task!r}{known}")
    if prompt_name is not None and prompt_name not in PREFIXES:
        raise UnknownPromptError(f"unknown prompt_name {prompt_name!r}{suggest(prompt_name, PREFIXES)}")
    if task == "text-matching":
        return task, "query"
    return task, prompt_name or DEFAULT_PROMPT
