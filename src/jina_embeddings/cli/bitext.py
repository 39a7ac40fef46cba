"""`jina-embeddings bitext`: translations in two files."""

from __future__ import annotations

from typing import Annotated

import typer

from .matching import MaxLength, Task, TextField, TruncateDim, comparing, print_found, require_some, sum_up
from .model import BatchSize, ModelChoice, takes_model
from .progress import Progress


@takes_model
def bitext(
    source: Annotated[
        str, typer.Argument(help="A text file with one sentence a line; or .jsonl or .csv.", show_default=False)
    ],
    target: Annotated[
        str, typer.Argument(help="The same sentences in another language, in any order.", show_default=False)
    ],
    min_margin: Annotated[
        float, typer.Option(help="The least margin of a pair; at 1, it is no closer than its neighbours.")
    ] = 1.05,
    neighbours: Annotated[
        int, typer.Option(min=1, help="How many neighbours of each sentence a pair is compared with.")
    ] = 4,
    json: Annotated[bool, typer.Option("--json", help="Print each pair as a line of JSON.")] = False,
    text_field: TextField = "text",
    task: Task = "text-matching",
    truncate_dim: TruncateDim = None,
    max_length: MaxLength = None,
    batch_size: BatchSize = None,
    *,
    choice: ModelChoice,
) -> None:
    """Print pairs of sentences that are translations, best first: margin, source and target, separated by tabs.

    Exit status: 0 done; 2 an error; 3 done except for inputs that failed, which are listed.
    """
    from ..apps.matching import mine_bitext
    from ..apps.matching.inputs import count_inputs
    from ..apps.matching.load import embed_inputs
    from ..pipeline.readers import Reader

    options = {"task": task, "truncate_dim": truncate_dim, "max_length": max_length, "batch_size": batch_size}
    reader = Reader(text_field)
    with choice.loaded(task) as loaded, Progress(count_inputs([source, target], reader), "inputs") as progress:
        left, right = (
            embed_inputs(loaded, [path], reader, advance=progress.advance, **options) for path in (source, target)
        )
    require_some(left, right)
    with comparing(left, right) as advance:
        found = mine_bitext(left.vectors, right.vectors, neighbours=neighbours, min_margin=min_margin, advance=advance)
    print_found(found, left, right, json)
    sum_up(left, right)
