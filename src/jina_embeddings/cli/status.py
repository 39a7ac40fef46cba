"""`jina-embeddings status`: how much of a bulk run is done, by its folder alone."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from ..logs import shown
from .terminal import SOME_FAILED, command


def status(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="The folder or address of `embed --into`.", show_default=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show all logs, and tracebacks.")] = False,
) -> None:
    """Print how much of a bulk run is done, while it runs or after it.

    Exit status: 0 all shards are done; 3 some are still to be done; 2 an error.
    """
    with command(debug):
        from ..pipeline import status as status_of

        found = status_of(folder)
        if as_json:
            print(json.dumps(asdict(found)))
        else:
            bad = f"{found.rejected:,} of them rejected, {found.cut:,} too long and cut"
            print(f"{found.rows_done:,} of {found.rows:,} rows, {bad}")
            print(f"{found.shards_done:,} of {found.shards:,} shards; {shown(found.model)}, {found.task}")
        if found.shards_done < found.shards:
            raise typer.Exit(SOME_FAILED)
