"""The options of a command that say which model it works with, and loading it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import say, to_terminal

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings

_PANEL = "Model"

ModelOption = Annotated[
    str, typer.Option(help="A folder, a hub id, or a bundled model's name.", rich_help_panel=_PANEL)
]
EngineOption = Annotated[
    str, typer.Option(help="auto, vllm, transformers, or fake (for tests).", rich_help_panel=_PANEL)
]
RevisionOption = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of a hub model.", rich_help_panel=_PANEL)
]
LocalOption = Annotated[bool, typer.Option("--local-files-only", help="Download nothing.", rich_help_panel=_PANEL)]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Any option of the model; repeatable.", rich_help_panel=_PANEL),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show all logs, and tracebacks.")]


@contextmanager
def loaded_model(
    model: str,
    *,
    engine: str,
    revision: str | None,
    local_files_only: bool,
    settings: list[str] | None,
    task: str | None = None,
    debug: bool = False,
) -> Iterator[JinaEmbeddings]:
    """The model, until the block ends; a signal closes it.

    Raises: OptionError for a wrong engine or setting, and as `JinaEmbeddings` does.
    """
    from ..checkpoint.resolve import resolve
    from ..embedder import JinaEmbeddings
    from .arguments import check_engine, engine_options
    from .interrupt import stops_on_signals
    from .noise import Noise

    check_engine(engine)
    options: dict[str, Any] = engine_options(settings or [])
    source: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
    if to_terminal():
        say(f"loading {model}")
    if engine != "fake":
        # A download has a progress bar of its own, and takes long enough to need it.
        resolve(model, **source)
    with Noise(wanted=debug) as noise:
        with noise.kept_away():
            loaded = JinaEmbeddings(model, engine=engine, task=task, **source, **options)
        with loaded, stops_on_signals(loaded.close):
            yield loaded


def full_name(model: str) -> str:
    """A folder by its absolute path, so that what is written down holds in every folder; other names as they are."""
    return os.path.abspath(model) if os.path.isdir(model) else model
