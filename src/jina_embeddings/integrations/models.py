"""The model of an integration: a given one, or one loaded by name and shared by integrations of equal settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
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
    """The given model, or the one of a name; it is loaded unless one of equal settings is in use already.

    engine, revision, options: arguments of `JinaEmbeddings`; only with a name.
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
    """The settings that load this model again: `model_name`, `engine`, `revision`, `options`."""
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


def as_documents(texts: Iterable[str]) -> list[str]:
    """The texts, a space for each empty one: frameworks want a vector for every document, and one that is empty must
    not fail its batch."""
    return [text if text != "" else " " for text in texts]
