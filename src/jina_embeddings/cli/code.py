"""`jina-embeddings code`: search in a repository."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from .model import BatchSize, ModelChoice, takes_model_of_index
from .streams import read_text
from .terminal import SOME_FAILED

if TYPE_CHECKING:
    from rich.console import Console

    from ..apps.code.place import Place
    from ..apps.index import Hit


code = typer.Typer(help="Search in the source code of a repository.", no_args_is_help=True)

_NOTHING_FOUND = 1

IndexOption = Annotated[
    str | None,
    typer.Option(
        "--index",
        metavar="INDEX",
        help="Where the index is: a folder or an address; .jina-embeddings/code in the repository if left out.",
    ),
]
LimitOption = Annotated[int, typer.Option(min=1, help="Results.")]
LanguageOption = Annotated[
    str | None, typer.Option(help="Only this language: python, go, ...; text for what is no code.")
]
LinesOption = Annotated[int, typer.Option(min=0, help="Lines of each result to show.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


@code.command("index")
@takes_model_of_index
def index_code(
    repository: Annotated[str, typer.Argument(metavar="REPO", help="A folder, of git or not.")] = ".",
    index: IndexOption = None,
    changed: Annotated[
        bool,
        typer.Option("--changed", help="Look only at files whose content differs from what is indexed."),
    ] = False,
    dimension: Annotated[int | None, typer.Option(min=1, help="Numbers of a vector, for a new index.")] = None,
    batch_size: BatchSize = None,
    max_length: Annotated[int | None, typer.Option(min=1, help="Pieces are cut to this many tokens.")] = None,
    *,
    choice: ModelChoice,
) -> None:
    """Make or renew the index of a repository: functions, methods and classes; only new ones are embedded.

    What git ignores is left out. Exit status: 0 all is indexed; 2 an error; 3 all is indexed but files that could
    not be, which are listed; 130 interrupted: what was embedded is kept, and the same command goes on.
    """
    from ..apps.code import CodeSearch, Repository
    from ..apps.code.place import own_index
    from .progress import Progress
    from .summary import report

    source = Repository(repository)
    address = index or own_index(source.root)
    with (
        choice.for_index(address).loaded("code") as loaded,
        Progress([len(source)], "pieces", sources="files") as progress,
    ):
        found = CodeSearch.open(address, loaded, create=True, dimension=dimension)
        start = time.perf_counter()
        summary = found.update(
            source,
            changed=changed,
            advance=progress.advance,
            reading=progress.reading,
            batch_size=batch_size,
            max_length=max_length,
        )
        took = time.perf_counter() - start
        num_pieces = len(found.index)
    report(summary, num_pieces, took, address)
    if summary.failures:
        raise typer.Exit(SOME_FAILED)


@code.command("search")
@takes_model_of_index
def search_code(
    query: Annotated[
        str, typer.Argument(help="What to look for, in words; - for a text on standard input.", show_default=False)
    ],
    index: IndexOption = None,
    limit: LimitOption = 10,
    language: LanguageOption = None,
    path: Annotated[
        str | None, typer.Option(help="Only files of this path in the repository; * stands for anything.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="dense (vectors), words (BM25, identifiers by their parts), or hybrid (both).")
    ] = None,
    lines: LinesOption = 8,
    as_json: JsonOption = False,
    *,
    choice: ModelChoice,
) -> None:
    """Find code by words: print file:line, symbol and the code itself.

    Exit status: 0 found; 1 nothing found; 2 an error.
    """
    from ..apps.code import CodeSearch
    from ..apps.code.place import find_index
    from ..apps.index import SearchOptions
    from ..apps.index.store import Store

    place = find_index(index)
    # Before a model is loaded.
    options = SearchOptions(mode=mode)  # type: ignore[arg-type]
    Store.open(place.address)
    query = read_text() if query == "-" else query
    with choice.for_index(place.address).loaded("code") as loaded:
        found = CodeSearch.open(place.address, loaded)
        hits = found.search(query, limit=limit, language=language, path=path, mode=options.mode)
    show(hits, place, lines=lines, as_json=as_json)
    if not hits:
        raise typer.Exit(_NOTHING_FOUND)


@code.command("similar")
@takes_model_of_index
def similar_code(
    where: Annotated[str, typer.Argument(metavar="FILE:LINE", help="A place in a file.", show_default=False)],
    index: IndexOption = None,
    limit: LimitOption = 10,
    language: LanguageOption = None,
    lines: LinesOption = 8,
    as_json: JsonOption = False,
    *,
    choice: ModelChoice,
) -> None:
    """Find code like the function at a place, or the code that a place in the documentation tells of.

    Exit status: 0 found; 1 nothing found; 2 an error.
    """
    from ..apps.code import CodeSearch
    from ..apps.code.place import find_index, parse_place
    from ..apps.index.store import Store

    file, line = parse_place(where)
    place = find_index(index, near=file)
    Store.open(place.address)
    with choice.for_index(place.address).loaded("code") as loaded:
        found = CodeSearch.open(place.address, loaded)
        hits = found.similar(file, line, name=place.name_of(file), limit=limit, language=language)
    show(hits, place, lines=lines, as_json=as_json)
    if not hits:
        raise typer.Exit(_NOTHING_FOUND)


def show(hits: Sequence[Hit], place: Place, *, lines: int, as_json: bool) -> None:
    """Best first, on standard output. lines: of each piece that are shown."""
    if as_json:
        for hit in hits:
            print(json.dumps(_record(hit, place), ensure_ascii=False))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for hit in hits:
        passage = hit.passage
        head = Text.assemble(
            (f"{place.shown(passage.path)}:{passage.line}", "bold cyan"),
            "  ",
            (passage.title or "", "bold"),
            "  ",
            (f"{hit.score:.3f}", "dim"),
        )
        console.print(head)
        if lines:
            _print_code(console, hit, lines)
            console.print()


def _print_code(console: Console, hit: Hit, lines: int) -> None:
    from rich.syntax import Syntax

    passage = hit.passage
    shown = passage.text.rstrip("\n").split("\n")[:lines]
    language = passage.metadata.get("language", "text")
    syntax = Syntax(
        "\n".join(shown),
        language,
        line_numbers=True,
        start_line=passage.line,
        background_color="default",
        word_wrap=False,
    )
    if console.is_terminal:
        console.print(syntax, soft_wrap=False)
        return
    width = len(str(passage.line + len(shown)))
    for number, line in enumerate(shown, passage.line):
        console.print(f"  {number:{width}} {line}", markup=False)


def _record(hit: Hit, place: Place) -> dict[str, object]:
    passage = hit.passage
    return {
        "file": place.shown(passage.path).replace(os.sep, "/"),
        "line": passage.line,
        "end_line": passage.end_line,
        "symbol": passage.title,
        "language": passage.metadata.get("language"),
        "score": round(hit.score, 6),
        "text": passage.text,
    }
