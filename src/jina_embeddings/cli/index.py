"""`jina-embeddings index PATHS...`: makes or updates an index of files."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from .model import BatchSize, ModelChoice, takes_model_of_index
from .terminal import SOME_FAILED

_INDEX = "Index"


@takes_model_of_index
def index(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATHS...",
            help="Files and folders: text, Markdown, HTML, PDF, images, .jsonl, .csv, .tsv, .eml, .docx, .pptx, "
            ".xlsx and .ipynb; texts may be compressed, as .gz.",
            show_default=False,
        ),
    ],
    into: Annotated[
        str,
        typer.Option(metavar="INDEX", help="A folder, or an address such as s3://bucket/path.", rich_help_panel=_INDEX),
    ],
    batch_size: BatchSize = None,
    task: Annotated[
        str | None,
        typer.Option(help="The task of a new index: retrieval, text-matching or code.", rich_help_panel=_INDEX),
    ] = None,
    dimension: Annotated[
        int | None, typer.Option(min=1, help="The dimension of vectors of a new index.", rich_help_panel=_INDEX)
    ] = None,
    multivector: Annotated[
        bool,
        typer.Option("--multivector", help="Store multi-vectors too, for search --rerank.", rich_help_panel=_INDEX),
    ] = False,
    multivector_format: Annotated[
        str,
        typer.Option(help="How a new index stores multi-vectors: as float16, int8 or binary.", rich_help_panel=_INDEX),
    ] = "float16",
    token_pooling: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Pool multi-vectors of a new index to one vector for this many tokens.",
            rich_help_panel=_INDEX,
        ),
    ] = None,
    passage_size: Annotated[
        int, typer.Option(min=50, help="The most characters of a passage.", rich_help_panel=_INDEX)
    ] = 1200,
    pdf: Annotated[
        str, typer.Option(help="What to index of a PDF: text, pages (as images), or both.", rich_help_panel=_INDEX)
    ] = "both",
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Metadata of all passages, to filter by; repeatable. If left out, documents keep theirs; NAME= "
            "removes it.",
            rich_help_panel=_INDEX,
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Only files that match this, as in .gitignore: '*.md', 'guide/'; repeatable.",
            rich_help_panel=_INDEX,
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="No files that match this; repeatable.", rich_help_panel=_INDEX),
    ] = None,
    text_field: Annotated[
        str, typer.Option(help="JSON field or CSV column of a text.", rich_help_panel=_INDEX)
    ] = "text",
    image_field: Annotated[
        str, typer.Option(help="JSON field or CSV column of an image's path or URL.", rich_help_panel=_INDEX)
    ] = "image",
    allow_empty: Annotated[
        bool,
        typer.Option(
            "--allow-empty",
            help="Remove the documents of a given folder if it has no files; else they are kept.",
            rich_help_panel=_INDEX,
        ),
    ] = False,
    *,
    choice: ModelChoice,
) -> None:
    """Make an index of files, or update one: only what has changed is embedded.

    Exit status: 0 all is indexed; 2 an error; 3 all is indexed except for bad inputs, which are listed; 130
    interrupted: what was embedded is kept, and the same command continues.
    """
    from ..apps.documents import CutOptions
    from ..apps.retrieval import index_files
    from ..pipeline.files import count_files
    from .arguments import pairs
    from .progress import Progress
    from .summary import report

    given = {name: value for name, value in pairs(metadata, "--metadata").items() if value} if metadata else None
    cut = CutOptions(passage_size, pdf, given, text_field, image_field)  # type: ignore[arg-type]
    with (
        choice.for_index(into, paths).loaded(task) as loaded,
        Progress(count_files(paths), "passages", sources="files") as progress,
    ):
        start = time.perf_counter()
        made, summary = index_files(
            paths,
            into,
            loaded,
            task=task,
            dimension=dimension,
            multivector=multivector_format if multivector else None,  # type: ignore[arg-type]
            token_pooling=token_pooling,
            options=cut,
            include=include or (),
            exclude=exclude or (),
            allow_empty=allow_empty,
            advance=progress.advance,
            reading=progress.reading,
            batch_size=batch_size,
        )
        took = time.perf_counter() - start
        num_passages = len(made)
    report(summary, num_passages, took, into)
    if summary.failures:
        raise typer.Exit(SOME_FAILED)
