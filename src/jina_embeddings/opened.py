"""What a model is by its checkpoint and its options, before an engine loads it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, Self

from .checkpoint import Checkpoint, open_checkpoint
from .errors import TaskUnavailableError
from .inputs.prompts import resolve_task
from .options import Options, make_options
from .types import ModelInfo, Task


@dataclass(frozen=True, slots=True)
class Opened:
    """A model without its engine.

    info: of what is loaded: all tasks of the checkpoint, or the one that is merged.
    task, prompt_name: of calls that name none.
    """

    checkpoint: Checkpoint
    options: Options
    info: ModelInfo
    task: Task
    prompt_name: str | None

    @classmethod
    def of(
        cls,
        model: str | os.PathLike[str],
        *,
        engine: str,
        task: str | None = None,
        options: dict[str, Any],
        **source: Any,
    ) -> Self:
        """The arguments are those of `JinaEmbeddings`. Raises as it does, except for what its engine needs."""
        made = make_options(options, engine)
        default, prompt_name = resolve_task(task) if task is not None else (None, None)
        if made.merge_adapter is not None:
            made = replace(made, merge_adapter=resolve_task(made.merge_adapter)[0])
        checkpoint = open_checkpoint(model, engine=engine, task=default, **source)
        info = _loaded(checkpoint.info, made.merge_adapter)
        chosen: Task = default or ("retrieval" if "retrieval" in info.tasks else info.tasks[0])
        if chosen not in info.tasks:
            raise TaskUnavailableError(
                f"task={chosen!r} is left out by merge_adapter={info.tasks[0]!r}: name one of them only"
            )
        return cls(checkpoint, made, info, chosen, prompt_name)


def _loaded(info: ModelInfo, merged: Any) -> ModelInfo:
    if merged is None:
        return info
    if merged not in info.tasks:
        raise TaskUnavailableError(f"{info.name} has adapters for {', '.join(info.tasks)}, not {merged!r}")
    return replace(info, tasks=(merged,))
