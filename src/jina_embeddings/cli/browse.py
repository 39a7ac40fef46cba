"""`jina-embeddings browse`: a page to search an index with."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import command, say
from .model import DebugOption, EngineOption, LocalOption, RevisionOption, SettingsOption


def browse(
    index: Annotated[str, typer.Argument(metavar="INDEX", help="The index's folder or address.", show_default=False)],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the page, on this machine only.")] = 8080,
    no_open: Annotated[bool, typer.Option("--no-open", help="Don't open a browser.")] = False,
    model: Annotated[
        str | None,
        typer.Option(help="The model, if the one that made the index has moved.", rich_help_panel="Model"),
    ] = None,
    engine: EngineOption = "auto",
    revision: RevisionOption = None,
    local_files_only: LocalOption = False,
    option: SettingsOption = None,
    debug: DebugOption = False,
) -> None:
    """Serve a page, to this machine only, that searches an index with words or a dropped picture.

    For a picture or a page, it shows where each word of the question was found. Ctrl-C ends it. Exit status: 0
    ended; 2 an error.
    """
    with command(debug):
        from ..apps.browse import HOST, serve
        from ..apps.index import Index
        from ..apps.index.store import Store
        from .index_model import model_of
        from .model import loaded_model

        Store.open(index)
        with loaded_model(
            model_of(index, model),
            engine=engine,
            revision=revision,
            local_files_only=local_files_only,
            settings=option,
            debug=debug,
        ) as loaded:
            opened = Index.open(index, loaded)
            say(f"http://{HOST}:{port} – Ctrl-C ends it")
            serve(opened, port=port, show=not no_open)
