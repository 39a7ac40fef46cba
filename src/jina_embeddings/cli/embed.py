"""`jina-embeddings embed`: files to vectors."""

from __future__ import annotations

from functools import partial
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
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Ends in .parquet, .jsonl or .npy.", rich_help_panel=_OUTPUT
        ),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="A run of any size, in shards: the same command again goes on where it was.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an output file that exists.", rich_help_panel=_OUTPUT)
    ] = False,
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
    id_field: Annotated[
        str, typer.Option(help="JSON field or column of a row's id (--into).", rich_help_panel=_INPUT)
    ] = "id",
    keep: Annotated[
        str, typer.Option(metavar="A,B", help="Fields kept beside the vector (--into).", rich_help_panel=_INPUT)
    ] = "",
    lines: Annotated[
        bool, typer.Option("--lines", help="A text file gives a row a line (--into).", rich_help_panel=_INPUT)
    ] = False,
    shard: Annotated[
        str, typer.Option(metavar="3/8", help="Do a share of the run: the third of eight.", rich_help_panel=_OUTPUT)
    ] = "1/1",
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="auto|ADDRESS",
            help="Work on the Ray cluster at an address; auto: the one there is, or one on this machine (--into).",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    ray_workers: Annotated[
        int | None, typer.Option(min=1, help="Models on the cluster; a GPU each if left out.", rich_help_panel=_OUTPUT)
    ] = None,
    shard_rows: Annotated[
        int, typer.Option(min=1, help="Rows in a shard's file (--into).", rich_help_panel=_OUTPUT)
    ] = 10_000,
    max_bad: Annotated[
        str | None,
        typer.Option(
            metavar="1%",
            help="Stop when more rows are rejected, a share such as 1% or 0.01 (--into).",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    also: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Further forms, a column each: float16, int8, binary, multivector, multivector-int8 (--into).",
            rich_help_panel=_OUTPUT,
        ),
    ] = "",
    layout: Annotated[
        str,
        typer.Option(help="Of the vectors: parquet, npy, safetensors or lance (--into).", rich_help_panel=_OUTPUT),
    ] = "parquet",
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
        str, typer.Option(help="float, int8, binary, ubinary or base64; float16 with --into.", rich_help_panel=_OUTPUT)
    ] = "float",
    *,
    choice: ModelChoice,
) -> None:
    """Embed files: a row for each text, image, page or record, in order.

    Exit status: 0 all rows are written; 2 an error; 3 all is written but the bad inputs, which are listed or in the
    folder `rejects`; 130 interrupted. After 2 and 130 there is no output file, and --into keeps the shards it has.
    """
    from ..errors import OptionError
    from ..pipeline.provenance import Form
    from ..pipeline.to_file import FileRun
    from .embed_run import embed_to_file

    if (output is None) == (into is None):
        raise OptionError("give one of --output FILE and --into FOLDER")
    if into is not None:
        from ..pipeline import Cluster, Fields, Form, Share
        from ..pipeline import Run as BulkRun
        from .bulk_run import embed_into, fraction, names

        form = Form(
            task, prompt_name, max_length, truncate_dim, multivector, embedding_type, names(also), layout=layout
        )
        bulk = BulkRun(
            paths,
            into,
            form,
            Fields(text_field, image_field, id_field, names(keep)),
            lines=lines,
            share=Share.parse(shard),
            shard_rows=shard_rows,
            max_rejected=fraction(max_bad),
            batch_size=batch_size,
            cluster=Cluster(ray, ray_workers) if ray else None,
        )
        if embed_into(bulk, partial(choice.loaded, task)):
            raise typer.Exit(SOME_FAILED)
        return

    assert output is not None
    if keep or lines or also or max_bad or ray or (id_field, shard, layout) != ("id", "1/1", "parquet"):
        names_ = "--keep, --lines, --also, --layout, --max-bad, --id-field, --shard and --ray"
        raise OptionError(f"{names_} go with --into FOLDER")
    form = Form(task, prompt_name, max_length, truncate_dim, multivector, embedding_type)
    run = FileRun(Path(output), form, overwrite, text_field, image_field, batch_size, choice.options)
    if embed_to_file(run, paths, choice, on_error):
        raise typer.Exit(SOME_FAILED)
