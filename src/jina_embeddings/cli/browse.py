"""`jina-embeddings browse`: a page to search an index with."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import command, say
from .model_choice import (
    Debug,
    Device,
    Dtype,
    EngineName,
    IndexModel,
    LocalFilesOnly,
    ModelChoice,
    ModelOption,
    Revision,
)


def browse(
    index: Annotated[str, typer.Argument(metavar="INDEX", help="The index's folder or address.", show_default=False)],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the page, on this machine only.")] = 8080,
    no_open: Annotated[bool, typer.Option("--no-open", help="Don't open a browser.")] = False,
    model: IndexModel = None,
    engine: EngineName = "auto",
    revision: Revision = None,
    local_files_only: LocalFilesOnly = False,
    dtype: Dtype = None,
    device: Device = None,
    option: ModelOption = None,
    debug: Debug = False,
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

        Store.open(index)
        choice = ModelChoice.of(
            model_of(index, model), engine, revision, local_files_only, dtype, device, option, debug
        )
        with choice.loaded() as loaded:
            opened = Index.open(index, loaded)
            say(f"http://{HOST}:{port} – Ctrl-C ends it")
            serve(opened, port=port, show=not no_open)
