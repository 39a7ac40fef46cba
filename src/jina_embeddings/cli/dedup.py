"""`jina-embeddings dedup`: duplicates by meaning."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError, OptionError
from ..logs import shown
from ..pipeline.drafts import Draft, check_target
from .matching import ImageField, MaxLength, Task, TextField, TruncateDim, comparing, require_some, sum_up
from .model import BatchSize, ModelChoice, takes_model
from .progress import Progress
from .terminal import say

if TYPE_CHECKING:
    from ..apps.matching import Duplicates
    from ..apps.matching.load import Inputs


@takes_model
def dedup(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATHS...",
            help="A text file (lines are compared), .jsonl or .csv (records), or a folder (files, images included); "
            "or vectors that embed has written, one .npy or .parquet.",
            show_default=False,
        ),
    ],
    threshold: Annotated[
        float | None, typer.Option(help="The least cosine of two duplicates; 0.9 if left out.", show_default=False)
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Instead of a threshold: the share of inputs to remove, such as 0.1.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write what is kept: the lines of a single text or .jsonl file as they are, else one name a line.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output file that exists.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print each group as a line of JSON.")] = False,
    text_field: TextField = "text",
    image_field: ImageField = "image",
    task: Task = "text-matching",
    truncate_dim: TruncateDim = None,
    max_length: MaxLength = None,
    batch_size: BatchSize = None,
    *,
    choice: ModelChoice,
) -> None:
    """Find duplicates by meaning, and print groups of them, each with the input that is kept first.

    Exit status: 0 done; 2 an error; 3 done except for inputs that failed, which are listed, and kept in the output.
    """
    from ..apps.matching.inputs import count_inputs
    from ..apps.matching.load import load_inputs
    from ..pipeline.readers import Reader

    reader = Reader(text_field, image_field)
    check = find(threshold, rate)
    if output is not None:
        check_output(output, paths, overwrite=overwrite)
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
        found = check(inputs.vectors, advance=advance)
    if output is not None:
        # Written before groups are printed, since the reader of standard output may close it.
        write_kept(output, paths, found, inputs)
    print_groups(found, inputs, json)
    sum_up(inputs)


_SHOWN_CHARS = 100


def find(threshold: float | None, rate: float | None) -> Callable[..., Duplicates]:
    """Returns the function that finds duplicates. Raises OptionError for arguments out of range."""
    from ..apps.matching import deduplicate, deduplicate_to_rate
    from ..apps.matching.dedup import THRESHOLD

    if threshold is not None and rate is not None:
        raise OptionError("give --threshold or --rate, not both")
    if rate is not None:
        if not 0 < rate < 1:
            raise OptionError(f"--rate {rate} is out of range: a share above 0 and below 1")
        return partial(deduplicate_to_rate, rate=rate)
    threshold = THRESHOLD if threshold is None else threshold
    if not 0 < threshold <= 1:
        raise OptionError(f"--threshold {threshold} is out of range: a cosine above 0 and up to 1")
    return partial(deduplicate, threshold=threshold)


def check_output(output: Path, paths: Sequence[str], *, overwrite: bool) -> None:
    """Raises InputError or OptionError for an output file that can't be written, is an input, or exists."""
    if output.is_dir() or not Path(os.path.realpath(output)).parent.is_dir():
        raise InputError(f"{output} can't be written: its folder isn't there, or it is one")
    check_target(output, paths)
    if output.exists() and not overwrite:
        raise OptionError(f"output '{output}' exists: add --overwrite to replace it, or name another")


def print_groups(found: Duplicates, inputs: Inputs, as_json: bool) -> None:
    """Prints groups to stdout, and to stderr how many there are, and the threshold."""
    num_groups = 0
    for group in found.groups():
        num_groups += 1
        names = [str(inputs.names[row]) for row in group.rows]
        if as_json:
            scores = [round(score, 4) for score in group.scores]
            print(json.dumps({"representative": names[0], "members": names, "scores": scores}))
            continue
        print(_line(inputs, group.rows[0]))
        for row, score in zip(group.rows[1:], group.scores[1:], strict=True):
            print(f"  {score:.3f}  {_line(inputs, row)}")
    num_inputs = len(found.representatives)
    say(
        f"{num_inputs - len(found.kept):,} of {num_inputs:,} ({found.rate:.1%}) are duplicates, "
        f"in {num_groups:,} groups; threshold {found.threshold:.3f}"
    )


def write_kept(output: Path, paths: Sequence[str], found: Duplicates, inputs: Inputs) -> None:
    """Writes the inputs that are kept. Those that could not be embedded are among them: they may be no duplicates."""
    draft = Draft(output)
    try:
        draft.file.writelines(_kept(paths, found, inputs))
        draft.commit()
    finally:
        draft.discard()


def _kept(paths: Sequence[str], found: Duplicates, inputs: Inputs) -> Iterable[bytes]:
    import numpy as np

    from ..apps.matching.inputs import without_rows

    if len(paths) == 1 and inputs.positions:
        removed = np.setdiff1d(np.arange(len(inputs.positions)), found.kept)
        lines = without_rows(paths[0], (inputs.positions[row] for row in removed))
        if lines is not None:
            return lines
    failed = [failure.id for failure in inputs.failures]
    return (f"{name}\n".encode() for name in [*(inputs.names[row] for row in found.kept), *failed])


def _line(inputs: Inputs, row: int) -> str:
    name = str(inputs.names[row])
    text = inputs.text(row)
    cut = f"{text[:_SHOWN_CHARS]}…" if len(text) > _SHOWN_CHARS else text
    return shown(name if text == name else f"{name}  {cut}")
