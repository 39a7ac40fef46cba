"""`jina-embeddings index`: files to an index that can be searched."""

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
            help="Files and folders: text, Markdown, HTML, PDF, pictures, .jsonl, .csv, .tsv, .eml, .docx, .pptx, "
            ".xlsx and .ipynb; texts packed as .gz too.",
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
        typer.Option(help="retrieval, text-matching or code, for a new index.", rich_help_panel=_INDEX),
    ] = None,
    dimension: Annotated[
        int | None, typer.Option(min=1, help="Numbers of a vector, for a new index.", rich_help_panel=_INDEX)
    ] = None,
    multivector: Annotated[
        bool, typer.Option("--multivector", help="Keep multi-vectors too, for search --rerank.", rich_help_panel=_INDEX)
    ] = False,
    multivector_format: Annotated[
        str, typer.Option(help="Of multi-vectors: float16, int8 or binary, for a new index.", rich_help_panel=_INDEX)
    ] = "float16",
    token_pooling: Annotated[
        int | None,
        typer.Option(
            min=1, help="Keep one vector for so many tokens of a multi-vector, for a new index.", rich_help_panel=_INDEX
        ),
    ] = None,
    passage_size: Annotated[
        int, typer.Option(min=50, help="Most characters of a passage.", rich_help_panel=_INDEX)
    ] = 1200,
    pdf: Annotated[
        str, typer.Option(help="Of a PDF: both, text, or pages (as images).", rich_help_panel=_INDEX)
    ] = "both",
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Given to all passages, to filter by; repeatable. Left out, documents keep what they had; "
            "NAME= takes it away.",
            rich_help_panel=_INDEX,
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Only files like this, as in .gitignore: '*.md', 'guide/'; repeatable.",
            rich_help_panel=_INDEX,
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="No files like this; repeatable.", rich_help_panel=_INDEX),
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
            help="A given folder without files means that its documents have gone; else they are kept.",
            rich_help_panel=_INDEX,
        ),
    ] = False,
    *,
    choice: ModelChoice,
) -> None:
    """Make an index of files, or bring one in step with them: only what has changed is embedded.

    Exit status: 0 all is indexed; 2 an error; 3 all is indexed but the bad inputs, which are listed; 130
    interrupted: what was embedded is kept, and the same command goes on.
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
