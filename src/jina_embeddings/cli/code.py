"""`jina-embeddings code`: search in the source code of a repository."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..logs import shown
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
        help="The index's folder or address; if left out, .jina-embeddings/code in the repository.",
    ),
]
LimitOption = Annotated[int, typer.Option(min=1, help="The most results.")]
LanguageOption = Annotated[
    str | None, typer.Option(help="Only code in this language: python, go, ...; text for files that aren't code.")
]
LinesOption = Annotated[int, typer.Option(min=0, help="The most lines of each result to print.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print each result as a line of JSON.")]


@code.command("index")
@takes_model_of_index
def index_code(
    repository: Annotated[str, typer.Argument(metavar="REPO", help="A git repository or any other folder.")] = ".",
    index: IndexOption = None,
    changed: Annotated[
        bool,
        typer.Option("--changed", help="Read only the files that have changed since they were indexed."),
    ] = False,
    dimension: Annotated[int | None, typer.Option(min=1, help="The dimension of vectors of a new index.")] = None,
    batch_size: BatchSize = None,
    max_length: Annotated[int | None, typer.Option(min=1, help="Truncate chunks of code to this many tokens.")] = None,
    *,
    choice: ModelChoice,
) -> None:
    """Make or update the index of a repository: its functions, methods and classes. Only new ones are embedded.

    Files that git ignores are left out. Exit status: 0 all is indexed; 2 an error; 3 all is indexed except for files
    that failed, which are listed; 130 interrupted: what was embedded is kept, and the same command continues.
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
        str, typer.Argument(help="The query, in words; - reads it from standard input.", show_default=False)
    ],
    index: IndexOption = None,
    limit: LimitOption = 10,
    language: LanguageOption = None,
    path: Annotated[
        str | None, typer.Option(help="Only files of this path in the repository; * matches anything.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="dense (vectors), words (BM25 on the parts of identifiers), or hybrid (both).")
    ] = None,
    lines: LinesOption = 8,
    as_json: JsonOption = False,
    *,
    choice: ModelChoice,
) -> None:
    """Find code by a query in words, and print file:line, symbol and code of each result.

    Exit status: 0 found; 1 nothing found; 2 an error.
    """
    from ..apps.code import CodeSearch
    from ..apps.code.place import find_index
    from ..apps.index import SearchOptions
    from ..apps.index.store import Store

    place = find_index(index)
    # Checked before a model is loaded, which takes long.
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
    where: Annotated[str, typer.Argument(metavar="FILE:LINE", help="A line of a file.", show_default=False)],
    index: IndexOption = None,
    limit: LimitOption = 10,
    language: LanguageOption = None,
    lines: LinesOption = 8,
    as_json: JsonOption = False,
    *,
    choice: ModelChoice,
) -> None:
    """Find code that is similar to the function at a line, or that a line of documentation is about.

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
    """Prints results, best first. lines: how many lines of each to print."""
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
            (shown(f"{place.shown(passage.path)}:{passage.line}"), "bold cyan"),
            "  ",
            (shown(passage.title or ""), "bold"),
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
    first = [shown(line, keep="\t") for line in passage.text.rstrip("\n").split("\n")[:lines]]
    language = passage.metadata.get("language", "text")
    syntax = Syntax(
        "\n".join(first),
        language,
        line_numbers=True,
        start_line=passage.line,
        background_color="default",
        word_wrap=False,
    )
    if console.is_terminal:
        console.print(syntax, soft_wrap=False)
        return
    width = len(str(passage.line + len(first)))
    for number, line in enumerate(first, passage.line):
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
