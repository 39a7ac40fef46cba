"""What the commands of text matching share: options, printing pairs, and the summary."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import EmptyInputError
from ..logs import shown
from .progress import Progress
from .summary import say_cut, say_failed, say_left_out
from .terminal import SOME_FAILED, say

if TYPE_CHECKING:
    from ..apps.matching import Pair
    from ..apps.matching.load import Inputs

TextField = Annotated[str, typer.Option(help="JSON field or CSV column of a text.")]
ImageField = Annotated[str, typer.Option(help="JSON field or CSV column of an image's path or URL.")]
Task = Annotated[str, typer.Option(help="The task of the vectors that are compared.")]
TruncateDim = Annotated[int | None, typer.Option(min=1, help="The dimension that vectors are truncated to.")]
MaxLength = Annotated[int | None, typer.Option(min=1, help="Truncate texts to this many tokens.")]


def print_found(pairs: Sequence[Pair], left: Inputs, right: Inputs, as_json: bool) -> None:
    """Prints each pair as a line, and to stderr how many there are."""
    for pair in pairs:
        texts = left.text(pair.left), right.text(pair.right)
        if as_json:
            record = {
                "score": round(pair.score, 6),
                "cosine": round(pair.cosine, 6),
                "left": {"id": left.names[pair.left], "text": texts[0]},
                "right": {"id": right.names[pair.right], "text": texts[1]},
            }
            print(json.dumps(record, ensure_ascii=False))
        else:
            print(f"{pair.score:.4f}\t{shown(texts[0])}\t{shown(texts[1])}")
    say(f"{len(pairs):,} {'pair' if len(pairs) == 1 else 'pairs'}")


@contextmanager
def comparing(*inputs: Inputs) -> Iterator[Callable[[int], None]]:
    """Shows how many rows are compared, of all there are; yields what counts them."""
    with Progress([sum(one.num_rows for one in inputs)], "rows compared") as progress:
        progress.advance(0)
        yield progress.advance


def require_some(*inputs: Inputs) -> None:
    """If there are no vectors at all, lists the inputs that failed and raises EmptyInputError."""
    for one in inputs:
        if not one.names:
            for failure in one.failures:
                say(f"  {failure}")
            raise EmptyInputError("there is nothing to compare in what was given")


def sum_up(*inputs: Inputs) -> None:
    """Lists the inputs that failed, were truncated or were left out; exits with status 3 if any failed."""
    failures = [failure for one in inputs for failure in one.failures]
    say_failed(failures)
    say_cut([name for one in inputs for name in one.cut])
    say_left_out([name for one in inputs for name in one.left_out])
    if failures:
        raise typer.Exit(SOME_FAILED)
