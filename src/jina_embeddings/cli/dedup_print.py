"""What `jina-embeddings dedup` prints and writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..apps.matching import Duplicates, deduplicate, deduplicate_to_rate
from ..apps.matching.dedup import THRESHOLD
from ..apps.matching.inputs import without_rows
from ..errors import InputError, OptionError
from ..pipeline.drafts import Draft
from .console import say
from .matching_run import Inputs

if TYPE_CHECKING:
    from ..types import FloatArray

_SHOWN = 100


def find(threshold: float | None, rate: float | None) -> Callable[[FloatArray], Duplicates]:
    """What finds the duplicates; raises OptionError for arguments that could never work."""
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


def check_output(output: Path | None) -> None:
    """Raises InputError for a file that can't be written, before a model is loaded."""
    if output is not None and (output.is_dir() or not output.absolute().parent.is_dir()):
        raise InputError(f"{output} can't be written: its folder isn't there, or it is one")


def print_groups(found: Duplicates, inputs: Inputs, as_json: bool) -> None:
    """Groups on stdout; on stderr, how many and at which threshold."""
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
    """Inputs that could not be embedded are kept too: nothing is known against them."""
    draft = Draft(output)
    try:
        draft.file.writelines(_kept(paths, found, inputs))
        draft.commit()
    finally:
        draft.discard()


def _kept(paths: Sequence[str], found: Duplicates, inputs: Inputs) -> Iterable[bytes]:
    if len(paths) == 1 and inputs.positions:
        removed = np.setdiff1d(np.arange(len(inputs.positions)), found.kept)
        lines = without_rows(paths[0], (inputs.positions[row] for row in removed))
        if lines is not None:
            return lines
    failed = [failure.split(": ")[0] for failure in inputs.failures]
    return (f"{name}\n".encode() for name in [*(inputs.names[row] for row in found.kept), *failed])


def _line(inputs: Inputs, row: int) -> str:
    name = str(inputs.names[row])
    text = inputs.text(row)
    return name if text == name else f"{name}  {text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}"
