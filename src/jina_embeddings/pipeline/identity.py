"""Which model a run is given, found without loading it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from ..checkpoint import DEFAULT_MODEL
from ..embedder import JinaEmbeddings
from ..errors import CheckpointError
from ..opened import Opened
from .provenance import Form, identified

Load = Callable[[], AbstractContextManager[JinaEmbeddings]]


def identity_of(load: Load, form: Form) -> dict[str, Any] | None:
    """`identified` of the model that `load` gives; None where only loading it would tell.

    load: a `partial` of `JinaEmbeddings`, or what has its arguments by name in an attribute `arguments`.

    Raises OptionError for an option that doesn't exist.
    """
    arguments = _arguments(load)
    if arguments is None:
        return None
    model, engine = arguments.pop("model", DEFAULT_MODEL), arguments.pop("engine", "auto")
    if not isinstance(engine, str):
        return None
    names = ("revision", "cache_dir")
    source = {name: arguments.pop(name) for name in names if name in arguments}
    arguments.pop("local_files_only", None)
    task = arguments.pop("task", None)
    try:
        # Nothing is downloaded to learn that it is another model.
        opened = Opened.of(model, engine=engine, task=task, options=arguments, local_files_only=True, **source)
        return identified(opened, form)
    except (CheckpointError, OSError):
        # It isn't on this machine, or not whole: its name is all that is known.
        return {"model": str(model), "revision": source.get("revision")}


def _arguments(load: Any) -> dict[str, Any] | None:
    if load is JinaEmbeddings:
        return {}
    if isinstance(load, partial) and load.func is JinaEmbeddings and len(load.args) < 2:
        return {**({"model": load.args[0]} if load.args else {}), **load.keywords}
    arguments = getattr(load, "arguments", None)
    return dict(arguments) if isinstance(arguments, dict) else None
