"""`jina-embeddings similar`: how alike texts are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import EmptyInputError, InputError
from .matching import Task, TruncateDim
from .model import ModelChoice, takes_model

if TYPE_CHECKING:
    from ..types import FloatArray


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
    from ..inputs.prompts import resolve_task

    resolve_task(task)
    left, right = read_pairs(texts or [], pairs)
    with choice.loaded(task) as loaded:
        matcher = Matcher(loaded, task=task, truncate_dim=truncate_dim)
        if pairs is not None:
            print_pairs(matcher.scores(left, right), left, right, json)
        else:
            print_matrix(matcher.matrix(left), left, json)


_DIGITS = 4


def read_pairs(texts: Sequence[str], file: Path | None) -> tuple[list[str], list[str]]:
    """Both sides of the pairs in a file; or the texts, and nothing on the right.

    Raises InputError for a line without exactly one tab, for fewer than two texts, and for both or neither.
    """
    if file is None:
        if len(texts) < 2:
            raise InputError("give two texts or more, or --pairs FILE")
        return list(texts), []
    if texts:
        raise InputError("give texts or --pairs FILE, not both")
    left, right = [], []
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 at byte {error.start}: convert it") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        parts = line.split("\t")
        if len(parts) != 2 or not all(part.strip() for part in parts):
            raise InputError(f"{file}:{number}: expected two texts with a tab between them")
        left.append(parts[0])
        right.append(parts[1])
    if not left:
        raise EmptyInputError(f"there are no pairs in {file}")
    return left, right


def print_pairs(scores: FloatArray, left: Sequence[str], right: Sequence[str], as_json: bool) -> None:
    for score, a, b in zip(scores.tolist(), left, right, strict=True):
        print(json.dumps({"score": score, "left": a, "right": b}) if as_json else f"{score:.{_DIGITS}f}\t{a}\t{b}")


def print_matrix(scores: FloatArray, texts: Sequence[str], as_json: bool) -> None:
    """One number for two texts, else a row for each text."""
    if as_json:
        print(json.dumps({"texts": list(texts), "scores": scores.tolist()}))
    elif len(texts) == 2:
        print(f"{scores[0, 1]:.{_DIGITS}f}")
    else:
        for row, text in zip(scores, texts, strict=True):
            print("\t".join([*(f"{score:.{_DIGITS}f}" for score in row), text]))
