"""`jina-embeddings dedup`: duplicates by meaning."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from .matching_options import ImageField, MaxLength, Task, TextField, TruncateDim
from .model_choice import BatchSize, ModelChoice, takes_model


@takes_model
def dedup(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATHS...",
            help="A text file (its lines are compared), .jsonl or .csv (records), a folder (files, pictures included); "
            "or vectors, as embed writes them: one .npy or .parquet.",
            show_default=False,
        ),
    ],
    threshold: Annotated[
        float | None, typer.Option(help="Least cosine of two duplicates; 0.9 if left out.", show_default=False)
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Instead: the share to remove, such as 0.1; the threshold is looked for.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write what is kept: the lines of one text or .jsonl file as they stand, else a name a line.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a group a line as JSON.")] = False,
    text_field: TextField = "text",
    image_field: ImageField = "image",
    task: Task = "text-matching",
    truncate_dim: TruncateDim = None,
    max_length: MaxLength = None,
    batch_size: BatchSize = None,
    *,
    choice: ModelChoice,
) -> None:
    """Find duplicates by meaning; print each group, the input that is kept first.

    Exit status: 0 done; 2 an error; 3 done but for inputs that failed, which are listed, and kept in the output.
    """
    from ..pipeline import Reader
    from .dedup_print import check_output, find, print_groups, write_kept
    from .matching_run import load_inputs

    check = find(threshold, rate)
    check_output(output)
    inputs = load_inputs(
        partial(choice.loaded, task),
        paths,
        Reader(text_field, image_field),
        task,
        truncate_dim=truncate_dim,
        max_length=max_length,
        batch_size=batch_size,
    )
    found = check(inputs.vectors)
    print_groups(found, inputs, json)
    if output is not None:
        write_kept(output, paths, found, inputs)
    inputs.leave_if_failed()
