"""`jina-embeddings browse`: a page to search an index with."""

from __future__ import annotations

from typing import Annotated

import typer

from .model import ModelChoice, takes_model_of_index
from .terminal import say


@takes_model_of_index
def browse(
    index: Annotated[str, typer.Argument(metavar="INDEX", help="The index's folder or address.", show_default=False)],
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of the page, on this machine only.")] = 8080,
    no_open: Annotated[bool, typer.Option("--no-open", help="Don't open a browser.")] = False,
    *,
    choice: ModelChoice,
) -> None:
    """Serve a page, to this machine only, that searches an index by a question or an image.

    For images and pages of PDFs, it shows where each word of the question was found. Ctrl-C ends it. Exit status: 0
    ended; 2 an error.
    """
    from ..apps.index import Index
    from ..apps.index.store import Store
    from ..apps.retrieval.page import HOST, serve

    Store.open(index)
    with choice.for_index(index).loaded() as loaded:
        opened = Index.open(index, loaded)
        say(f"http://{HOST}:{port} – Ctrl-C ends it")
        serve(opened, port=port, show=not no_open)
