"""`jina-embeddings search`: the best passages of an index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .model import ModelChoice, takes_model_of_index

if TYPE_CHECKING:
    from ..apps.index import Hit

_SEARCH = "Search"
_CONTEXT_LIMIT = 50


@takes_model_of_index
def search(
    index: Annotated[str, typer.Argument(metavar="INDEX", help="The index's folder or address.", show_default=False)],
    question: Annotated[str | None, typer.Argument(help="What to look for, in words.", show_default=False)] = None,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Look for what is like this picture.", rich_help_panel=_SEARCH)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Results.", rich_help_panel=_SEARCH)] = 10,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="NAME=VALUE",
            help="Only passages of this kind (text, image, page), path or title (with * for anything), or metadata; "
            "repeatable.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help="dense (vectors), words (BM25), or hybrid (both, joined by their ranks); dense if left out.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Rank the best by multi-vectors.", rich_help_panel=_SEARCH)
    ] = False,
    candidates: Annotated[int, typer.Option(min=1, help="How many --rerank ranks.", rich_help_panel=_SEARCH)] = 50,
    first_stage: Annotated[
        str,
        typer.Option(
            help="What finds candidates for --rerank: dense, or multivector (those that the index keeps).",
            rich_help_panel=_SEARCH,
        ),
    ] = "dense",
    min_score: Annotated[
        float | None, typer.Option(help="Leave out results with a lower score.", rich_help_panel=_SEARCH)
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Compare with every vector.", rich_help_panel=_SEARCH)] = False,
    context: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="TOKENS",
            help="Print passages with sources for a language model, up to so many tokens.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line.", rich_help_panel=_SEARCH)
    ] = False,
    *,
    choice: ModelChoice,
) -> None:
    """Search an index with words or a picture.

    Exit status: 0 found; 1 nothing found; 2 an error.
    """
    from ..apps.index import Index, SearchOptions
    from ..apps.index.store import Store
    from ..apps.retrieval import context as make_context
    from ..errors import OptionError
    from .arguments import grouped

    if (question is None) == (image is None):
        raise OptionError("give either a question or --image, and one of them only")
    if context is not None and as_json:
        raise OptionError("--context prints text: leave --json out")
    filters = grouped(where, "--filter")
    if context is not None:
        filters.setdefault("kind", ["text", "code"])
    # Before a model is loaded.
    options = SearchOptions(mode=mode, first_stage=first_stage, filters=filters)  # type: ignore[arg-type]
    Store.open(index)
    with choice.for_index(index).loaded() as loaded:
        query: Any = question if image is None else image
        hits = Index.open(index, loaded).search(
            query,
            limit=limit if context is None else max(limit, _CONTEXT_LIMIT),
            filters=filters,
            mode=options.mode,
            rerank=rerank,
            first_stage=options.first_stage,
            min_score=min_score,
            candidates=candidates,
            exact=exact,
        )
        if context is not None:
            print(make_context(hits, context, loaded.count_tokens))
        elif as_json:
            for hit in hits:
                print(json.dumps(hit.record(), ensure_ascii=False))
        else:
            _show(hits)
    if not hits:
        raise typer.Exit(1)


def _show(hits: list[Hit]) -> None:
    import os
    import textwrap

    here = os.getcwd() + os.sep
    for rank, hit in enumerate(hits, 1):
        passage = hit.passage
        print(f"{rank:2}  {hit.score:.3f}  {passage.source.removeprefix(here)}")
        if passage.title:
            print(f"    {passage.title}")
        if passage.text:
            print(textwrap.indent(textwrap.shorten(passage.text, 300, placeholder=" …"), "    "))
