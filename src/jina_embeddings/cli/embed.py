"""`jina-embeddings embed`: embeds files."""

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
            help="Files and folders: text, images, .pdf (one row a page), .jsonl and .csv (one row a record); - is "
            "standard input, with one text a line.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="A .parquet, .jsonl or .npy file.", rich_help_panel=_OUTPUT
        ),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="A folder for a run of any size, in shards: after an interruption, the same command continues it.",
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
            help="retrieval, text-matching or code; also with a prompt name, as in retrieval.query. If left out, "
            "retrieval, or the task of a merged model.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    prompt_name: Annotated[
        str | None,
        typer.Option(
            help="The prompt of texts: query, passage or code; if left out, passage, as files are usually searched.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(min=1, help="Truncate texts to this many tokens.", rich_help_panel=_INPUT)
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
        str, typer.Option(metavar="A,B", help="Fields to keep in the output (--into).", rich_help_panel=_INPUT)
    ] = "",
    lines: Annotated[
        bool, typer.Option("--lines", help="Each line of a text file is a row (--into).", rich_help_panel=_INPUT)
    ] = False,
    shard: Annotated[
        str,
        typer.Option(
            metavar="3/8", help="Do one share of the run only, here the third of eight.", rich_help_panel=_OUTPUT
        ),
    ] = "1/1",
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="auto|ADDRESS",
            help="Run on the Ray cluster at this address; auto: on a running one, else on this machine (--into).",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    ray_workers: Annotated[
        int | None,
        typer.Option(min=1, help="Models on the cluster; if left out, one for each GPU.", rich_help_panel=_OUTPUT),
    ] = None,
    shard_rows: Annotated[int, typer.Option(min=1, help="Rows of a shard (--into).", rich_help_panel=_OUTPUT)] = 10_000,
    max_bad: Annotated[
        str | None,
        typer.Option(
            metavar="1%",
            help="Stop if a larger share of rows is rejected, such as 1% or 0.01 (--into).",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    also: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="More columns: float16, int8, binary, multivector, multivector-int8 (--into).",
            rich_help_panel=_OUTPUT,
        ),
    ] = "",
    layout: Annotated[
        str,
        typer.Option(help="Format of vectors: parquet, npy, safetensors or lance (--into).", rich_help_panel=_OUTPUT),
    ] = "parquet",
    on_error: Annotated[
        str,
        typer.Option(help="skip lists bad inputs at the end, raise stops at the first.", rich_help_panel=_INPUT),
    ] = "skip",
    truncate_dim: Annotated[
        int | None,
        typer.Option(min=1, help="The dimension of vectors: 128, 256, 512, 1024 or 2048.", rich_help_panel=_OUTPUT),
    ] = None,
    multivector: Annotated[
        bool, typer.Option("--multivector", help="Write a vector for each token.", rich_help_panel=_OUTPUT)
    ] = False,
    embedding_type: Annotated[
        str, typer.Option(help="float, int8, binary, ubinary or base64; float16 with --into.", rich_help_panel=_OUTPUT)
    ] = "float",
    *,
    choice: ModelChoice,
) -> None:
    """Embed files: one row for each text, image, page or record, in order.

    Exit status: 0 all rows are written; 2 an error; 3 all are written except for bad inputs, which are listed, or in
    the folder `_rejects`; 130 interrupted. After 2 and 130 there is no output file; --into keeps finished shards.
    """
    from ..errors import OptionError
    from ..pipeline.provenance import Form
    from ..pipeline.to_file import FileRun
    from .embed_run import embed_to_file

    if (output is None) == (into is None):
        raise OptionError("give one of --output FILE and --into FOLDER")
    if into is not None and (overwrite or on_error != "skip"):
        raise OptionError("--overwrite and --on-error go with --output FILE")
    if ray_workers is not None and ray is None:
        raise OptionError("--ray-workers goes with --ray")
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
        if embed_into(bulk, choice.loader(task)):
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
