"""`jina-embeddings embed`: files to vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .model import BatchSize, ModelChoice, takes_model
from .terminal import SOME_FAILED

_INPUT, _OUTPUT = "Input", "Output"


@takes_model
def embed(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATHS...",
            help="Files and folders: text, images, .pdf (a row a page), .jsonl and .csv (a row a record); - for "
            "standard input, a text a line.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Ends in .parquet, .jsonl or .npy.", rich_help_panel=_OUTPUT
        ),
    ],
    batch_size: BatchSize = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="retrieval, text-matching, code; also retrieval.query, code.passage and so on. If left out, "
            "retrieval, or the task of a merged model.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    prompt_name: Annotated[
        str | None,
        typer.Option(
            help="query, passage or code, for texts; if left out, passage: files are what is searched in.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(min=1, help="Texts are cut to this many tokens.", rich_help_panel=_INPUT)
    ] = None,
    text_field: Annotated[
        str, typer.Option(help="JSON field or CSV column of a text.", rich_help_panel=_INPUT)
    ] = "text",
    image_field: Annotated[
        str,
        typer.Option(help="JSON field or CSV column of an image's path or URL.", rich_help_panel=_INPUT),
    ] = "image",
    on_error: Annotated[
        str,
        typer.Option(help="skip: list bad inputs at the end; raise: stop at the first.", rich_help_panel=_INPUT),
    ] = "skip",
    truncate_dim: Annotated[
        int | None, typer.Option(min=1, help="Shorter vectors: 128, 256, 512, 1024 or 2048.", rich_help_panel=_OUTPUT)
    ] = None,
    multivector: Annotated[
        bool, typer.Option("--multivector", help="A vector for each token.", rich_help_panel=_OUTPUT)
    ] = False,
    embedding_type: Annotated[
        str, typer.Option(help="float, int8, binary, ubinary or base64.", rich_help_panel=_OUTPUT)
    ] = "float",
    *,
    choice: ModelChoice,
) -> None:
    """Embed files: a row for each text, image, page or record, in order.

    Exit status: 0 all rows are written; 2 an error, nothing is written; 3 all is written but the bad inputs,
    which are listed; 130 interrupted, nothing is written.
    """
    from .embed_run import Run

    run = Run(
        choice=choice,
        output=output,
        task=task,
        prompt_name=prompt_name,
        text_field=text_field,
        image_field=image_field,
        on_error=on_error,
        batch_size=batch_size,
        max_length=max_length,
        truncate_dim=truncate_dim,
        multivector=multivector,
        embedding_type=embedding_type,
    )
    run.check()
    if run.embed(paths):
        raise typer.Exit(SOME_FAILED)
