"""The group `jina-embeddings index`: `index PATHS...`, `index info`, `index remove` and `index export`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..logs import shown
from .index import index as index_files
from .terminal import PROBLEM, command, say

FILES = "files"
"""The command that runs if the first argument is not the name of one."""


class _FilesUnlessNamed(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and args[0] in self.commands
        return super().parse_args(ctx, args if named else [FILES, *args])


index = typer.Typer(cls=_FilesUnlessNamed, help="Make or update an index of files, to be searched.")
index.command(FILES, hidden=True)(index_files)

IndexArgument = Annotated[
    str, typer.Argument(metavar="INDEX", help="The index's folder or address.", show_default=False)
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show all logs, and tracebacks.")]


@index.command()
def info(
    index: IndexArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: DebugOption = False,
) -> None:
    """Print what is in an index, what made it and how it is searched. No model is loaded.

    Exit status: 0 done; 2 an error.
    """
    with command(debug):
        from ..apps.index.store import Store

        facts = Store.open(index).describe()
        print(json.dumps(facts) if as_json else "\n".join(_lines(facts)))


@index.command()
def remove(
    index: IndexArgument,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATHS...", help="Paths of documents, as in results; * in quotes matches anything."),
    ],
    debug: DebugOption = False,
) -> None:
    """Remove documents from an index. No model is loaded, and no file is deleted.

    Exit status: 0 removed; 1 the index has no document of a path; 2 an error.
    """
    with command(debug):
        from ..apps.index.filters import path_is
        from ..apps.index.lock import written_by_us
        from ..apps.index.store import Store

        store = Store.open(index)
        with written_by_us(store.address):
            removed = [store.remove_where(path_is(path)) for path in paths]
        for path, count in zip(paths, removed, strict=True):
            say(f"{count:,} passages removed: {path}" if count else f"nothing in {index} has the path {path}")
        if not all(removed):
            raise typer.Exit(PROBLEM)


@index.command()
def export(
    index: IndexArgument,
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Of its own, or an address of a store.", show_default=False)
    ],
    layout: Annotated[
        str, typer.Option(help="Where vectors lie: parquet, npy, safetensors or lance; as `embed --layout`.")
    ] = "parquet",
    dense_only: Annotated[bool, typer.Option("--dense-only", help="Leave multi-vectors out.")] = False,
    shard_rows: Annotated[
        int | None,
        typer.Option(min=1, help="Passages of a shard; 10,000, or as many as have 256 MiB of multi-vectors."),
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Write passages and vectors as the folder of a bulk run. Loads no model; goes on where it was.

    Exit status: 0; 2 an error.
    """
    with command(debug):
        from ..apps.index.export import export as export_store
        from ..apps.index.store import Store
        from .progress import Progress

        store = Store.open(index)
        with Progress([len(store)], "passages") as progress:
            count = export_store(
                store,
                folder,
                layout=layout,
                multivector=not dense_only,
                shard_rows=shard_rows,
                advance=progress.advance,
            )
        say(f"{count:,} passages with their vectors in {folder}")


def _lines(facts: dict[str, Any]) -> list[str]:
    from .doctor.report import shown_lines

    return [shown(line) for line in shown_lines(facts)]
