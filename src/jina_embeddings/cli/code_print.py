"""Results of a search in code, highlighted where somebody looks at them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .code_place import Place

if TYPE_CHECKING:
    from rich.console import Console

    from ..apps.index import Hit


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
