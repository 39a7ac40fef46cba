"""`jina-embeddings similar`: how similar texts are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import EmptyInputError, InputError
from ..logs import shown
from ..pipeline.rows import Failure
from .matching import Task, TruncateDim
from .model import ModelChoice, takes_model
from .summary import say_failed
from .terminal import SOME_FAILED

if TYPE_CHECKING:
    from ..types import FloatArray


@takes_model
def similar(
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXTS]...", help="Texts: two of them give one score, more give a table.", show_default=False
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Score the pairs of a file, which has two texts and a tab on each line."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON: one line for each pair, or one table.")] = False,
    task: Task = "text-matching",
    truncate_dim: TruncateDim = None,
    *,
    choice: ModelChoice,
) -> None:
    """Print the cosine similarity of texts.

    Exit status: 0 done; 2 an error; 3 done except for lines of --pairs that aren't pairs, which are listed.
    """
    from ..apps.matching import Matcher
    from ..inputs.prompts import resolve_task

    resolve_task(task)
    check_texts(texts or [], pairs)
    left, right, failures = (list(texts or []), [], []) if pairs is None else read_pairs(pairs)
    if left:
        with choice.loaded(task) as loaded:
            matcher = Matcher(loaded, task=task, truncate_dim=truncate_dim)
            if pairs is None:
                print_matrix(matcher.matrix(left), left, json)
            else:
                print_pairs(matcher.scores(left, right), left, right, json)
    say_failed(failures)
    if failures:
        raise typer.Exit(SOME_FAILED)


_DIGITS = 4


def check_texts(texts: Sequence[str], pairs: Path | None) -> None:
    """Raises InputError unless there are either two texts or more, or a file of pairs."""
    if pairs is None and len(texts) < 2:
        raise InputError("give two texts or more, or --pairs FILE")
    if pairs is not None and texts:
        raise InputError("give texts or --pairs FILE, not both")


def read_pairs(path: Path) -> tuple[list[str], list[str], list[Failure]]:
    """Returns the left and the right texts of the pairs in a file, and its lines that aren't pairs.

    Raises EmptyInputError if all lines are blank.
    """
    left, right, failures = [], [], []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                wrong = f"not UTF-8 at byte {error.start} of the line: convert it"
                failures.append(Failure(f"{path}:{number}", InputError(wrong)))
                continue
            if not text.strip():
                continue
            parts = text.split("\t")
            if len(parts) == 2 and all(part.strip() for part in parts):
                left.append(parts[0])
                right.append(parts[1])
            else:
                failures.append(Failure(f"{path}:{number}", InputError("expected two texts with a tab between them")))
    if not left and not failures:
        raise EmptyInputError(f"there are no pairs in {path}")
    return left, right, failures


def print_pairs(scores: FloatArray, left: Sequence[str], right: Sequence[str], as_json: bool) -> None:
    for score, a, b in zip(scores.tolist(), left, right, strict=True):
        if as_json:
            print(json.dumps({"score": score, "left": a, "right": b}))
        else:
            print(f"{score:.{_DIGITS}f}\t{shown(a)}\t{shown(b)}")


def print_matrix(scores: FloatArray, texts: Sequence[str], as_json: bool) -> None:
    """Prints one number for two texts, else a row for each text."""
    if as_json:
        print(json.dumps({"texts": list(texts), "scores": scores.tolist()}))
    elif len(texts) == 2:
        print(f"{scores[0, 1]:.{_DIGITS}f}")
    else:
        for row, text in zip(scores, texts, strict=True):
            print("\t".join([*(f"{score:.{_DIGITS}f}" for score in row), shown(text)]))
