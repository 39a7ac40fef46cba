"""`jina-embeddings similar`: how alike texts are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .matching_options import Task, TruncateDim
from .model_choice import ModelChoice, takes_model


@takes_model
def similar(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXTS]...", help="Two texts give one score, more give a table.", show_default=False),
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Score pairs instead: two texts a line, a tab between them.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON: a line a pair, or one table.")] = False,
    task: Task = "text-matching",
    truncate_dim: TruncateDim = None,
    *,
    choice: ModelChoice,
) -> None:
    """Print the cosines of texts.

    Exit status: 0 done; 2 an error.
    """
    from ..apps.matching import Matcher
    from ..prompts import resolve_task
    from .similar_print import print_matrix, print_pairs, read_pairs

    resolve_task(task)
    left, right = read_pairs(texts or [], pairs)
    with choice.loaded(task) as loaded:
        matcher = Matcher(loaded, task=task, truncate_dim=truncate_dim)
        if pairs is not None:
            print_pairs(matcher.scores(left, right), left, right, json)
        else:
            print_matrix(matcher.matrix(left), left, json)
