"""`jina-embeddings status`: how far a run is, read from its folder alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .terminal import SOME_FAILED, command


def status(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of `embed --into`.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show all logs, and tracebacks.")] = False,
) -> None:
    """How far a bulk run is; it may be running.

    Exit status: 0 all shards are there; 3 some are still to be done; 2 an error.
    """
    with command(debug):
        from ..errors import RunError
        from ..pipeline.job import Job
        from ..pipeline.manifest import Manifest

        manifest = Manifest.read(folder)
        if manifest is None:
            raise RunError(f"{folder} holds no run: name the folder that was given to embed --into")
        plan, made = manifest.plan, manifest.made_by
        done = Job(folder, plan, manifest.form).done(manifest)
        facts = {
            "model": made["model"],
            "task": made["task"],
            "rows": plan.num_rows,
            "rows_done": sum(shard.rows for shard in done.values()),
            "rejected": sum(shard.rejected for shard in done.values()),
            "shards": plan.num_shards,
            "shards_done": len(done),
        }
        if as_json:
            print(json.dumps(facts))
        else:
            print(f"{facts['rows_done']:,} of {facts['rows']:,} rows, {facts['rejected']:,} of them rejected")
            print(f"{len(done):,} of {plan.num_shards:,} shards; {made['model']}, {made['task']}")
        if len(done) < plan.num_shards:
            raise typer.Exit(SOME_FAILED)
