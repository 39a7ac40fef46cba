"""The model behind an integration: the one given, or one by name, which equal settings share."""

from __future__ import annotations

import dataclasses
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

from ..embedder import JinaEmbeddings
from ..errors import OptionError
from ..options import Options

_loaded: WeakValueDictionary[str, JinaEmbeddings] = WeakValueDictionary()
_loading = Lock()


def model_of(
    model: JinaEmbeddings | str,
    engine: str = "auto",
    revision: str | None = None,
    options: dict[str, Any] | None = None,
) -> JinaEmbeddings:
    """The model itself, or the one of that name, loaded unless one of equal settings is in use already.

    engine, revision, options: as in `JinaEmbeddings`; only for a name.
    """
    if not isinstance(model, str):
        if engine != "auto" or revision is not None or options:
            raise OptionError("engine, revision and options belong to a model's name: this one is loaded already")
        return model
    key = repr((model, engine, revision, sorted((options or {}).items())))
    with _loading:
        found = _loaded.get(key)
        if found is None:
            found = _loaded[key] = JinaEmbeddings(model, engine=engine, revision=revision, **(options or {}))
    return found


def description(model: JinaEmbeddings) -> dict[str, Any]:
    """What a model has to be loaded with to be this one: `model_name`, `engine`, `revision`, `options`."""
    given = {
        option.name: value
        for option in dataclasses.fields(Options)
        if (value := getattr(model.options, option.name)) != option.default
    }
    return {
        "model_name": model.info.name,
        "engine": model.engine,
        "revision": model.info.revision,
        "options": given,
    }
