"""`jina-embeddings search`: finds the best passages of an index."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..logs import shown
from .model import ModelChoice, takes_model_of_index
from .terminal import PROBLEM, say

if TYPE_CHECKING:
    from ..apps.index import Hit

_SEARCH = "Search"
_CONTEXT_PASSAGES = 50


@takes_model_of_index
def search(
    index: Annotated[str, typer.Argument(metavar="INDEX", help="The index's folder or address.", show_default=False)],
    questions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUESTIONS...]",
            help="Questions, in words; - reads them from standard input, one a line.",
            show_default=False,
        ),
    ] = None,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Search by this image.", rich_help_panel=_SEARCH)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most results.", rich_help_panel=_SEARCH)] = 10,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="NAME=VALUE",
            help="Only passages of this kind (text, image, page), path or title (* matches anything), or metadata; "
            "repeatable.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help="dense (vectors), words (BM25), or hybrid (both scores joined); left out: hybrid, for an image dense.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Rank the best passages by multi-vectors.", rich_help_panel=_SEARCH)
    ] = False,
    candidates: Annotated[
        int, typer.Option(min=1, help="How many passages --rerank ranks.", rich_help_panel=_SEARCH)
    ] = 50,
    first_stage: Annotated[
        str,
        typer.Option(
            help="What finds candidates for --rerank: dense, or multivector (if the index has them).",
            rich_help_panel=_SEARCH,
        ),
    ] = "dense",
    min_score: Annotated[
        float | None, typer.Option(help="Leave out results with a lower score.", rich_help_panel=_SEARCH)
    ] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact", help="Compare with all vectors, without an approximate index.", rich_help_panel=_SEARCH
        ),
    ] = False,
    context: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="TOKENS",
            help="Print passages with their sources for a language model, up to this many tokens.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each result as a line of JSON.", rich_help_panel=_SEARCH)
    ] = False,
    *,
    choice: ModelChoice,
) -> None:
    """Search an index by questions or an image. Each question has results of its own.

    Exit status: 0 found; 1 nothing found; 2 an error.
    """
    from ..apps.index import Index, SearchOptions
    from ..apps.index.store import Store
    from ..apps.retrieval import context as make_context
    from ..errors import OptionError
    from .arguments import grouped

    queries: list[Any] = _lines_for_dashes(questions or []) if image is None else [image]
    if not queries or (image is not None and questions):
        raise OptionError("give either a question or --image, and one of them only")
    if context is not None and (as_json or len(queries) > 1):
        raise OptionError("--context prints text for one question: leave --json and the other questions out")
    filters = grouped(where, "--filter")
    if context is not None:
        filters.setdefault("kind", ["text", "code"])
    # Checked before a model is loaded, which takes long.
    options = SearchOptions(
        limit if context is None else max(limit, _CONTEXT_PASSAGES),
        filters,
        mode,  # type: ignore[arg-type]
        rerank,
        first_stage,  # type: ignore[arg-type]
        candidates,
        exact,
        min_score,
    )
    Store.open(index)
    with choice.for_index(index).loaded() as loaded:
        found = Index.open(index, loaded).search_many(queries, options)
        if context is not None:
            print(make_context(found[0], context, loaded.count_tokens))
        elif as_json:
            _print_records(queries, found)
        else:
            _show_all(queries, found)
    for query, hits in zip(queries, found, strict=True):
        if not hits:
            say(f"nothing found for {str(query)!r}")
    if not any(found):
        raise typer.Exit(PROBLEM)


def _lines_for_dashes(questions: list[str]) -> list[str]:
    """Returns the questions, with `-` replaced by the lines of standard input that aren't blank."""
    if "-" not in questions:
        return questions
    lines = [line for line in sys.stdin.read().removeprefix("\ufeff").split("\n") if line.strip()]
    place = questions.index("-")
    return [*questions[:place], *lines, *questions[place + 1 :]]


def _print_records(queries: list[Any], found: list[list[Hit]]) -> None:
    for query, hits in zip(queries, found, strict=True):
        for rank, hit in enumerate(hits, 1):
            print(json.dumps({"question": str(query), "rank": rank, **hit.record()}, ensure_ascii=False))


def _show_all(queries: list[Any], found: list[list[Hit]]) -> None:
    for number, (query, hits) in enumerate(zip(queries, found, strict=True)):
        if len(queries) > 1:
            print(f"\n{shown(query)}" if number else shown(query))
        _show(hits)


def _show(hits: list[Hit]) -> None:
    import textwrap

    here = os.getcwd() + os.sep
    for rank, hit in enumerate(hits, 1):
        passage = hit.passage
        own = passage.metadata.get("id")
        source = shown(passage.source.removeprefix(here))
        print(f"{rank:2}  {hit.score:.3f}  {source}" + (f"  (id {shown(own)})" if own else ""))
        if passage.title:
            print(f"    {shown(passage.title)}")
        if passage.text:
            print(f"    {shown(textwrap.shorten(passage.text, 300, placeholder=' …'))}")
