"""`jina-embeddings paraphrases`: the most similar pairs."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from .matching import ImageField, MaxLength, Task, TextField, TruncateDim, comparing, print_found, require_some, sum_up
from .model import BatchSize, ModelChoice, takes_model
from .progress import Progress


@takes_model
def paraphrases(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATHS...", help="Inputs as for the command dedup.", show_default=False)
    ],
    limit: Annotated[int, typer.Option(min=1, help="The most pairs to print.")] = 100,
    min_score: Annotated[float, typer.Option(help="The least cosine of a pair.")] = 0.0,
    json: Annotated[bool, typer.Option("--json", help="Print each pair as a line of JSON.")] = False,
    text_field: TextField = "text",
    image_field: ImageField = "image",
    task: Task = "text-matching",
    truncate_dim: TruncateDim = None,
    max_length: MaxLength = None,
    batch_size: BatchSize = None,
    *,
    choice: ModelChoice,
) -> None:
    """Print the most similar pairs of inputs: score and both inputs, separated by tabs.

    Exit status: 0 done; 2 an error; 3 done except for inputs that failed, which are listed.
    """
    from ..apps.matching import mine_paraphrases
    from ..apps.matching.inputs import count_inputs
    from ..apps.matching.load import load_inputs
    from ..pipeline.readers import Reader

    reader = Reader(text_field, image_field)
    with Progress(count_inputs(paths, reader), "inputs") as progress:
        inputs = load_inputs(
            partial(choice.loaded, task),
            paths,
            reader,
            task,
            advance=progress.advance,
            truncate_dim=truncate_dim,
            max_length=max_length,
            batch_size=batch_size,
        )
    require_some(inputs)
    with comparing(inputs) as advance:
        found = mine_paraphrases(inputs.vectors, limit=limit, min_score=min_score, advance=advance)
    print_found(found, inputs, inputs, json)
    sum_up(inputs)
