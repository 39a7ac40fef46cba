"""The command line, `jina-embeddings`. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .commands import app

__all__ = ["app", "main"]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .commands import app

    return app


def main() -> None:
    """The entry point of the console script."""
    if _command(sys.argv[1:]) == "serve":
        from . import ending

        ending.on_signals()
    from .commands import run

    run()


def _command(words: list[str]) -> str | None:
    """The command in the arguments, which only options of all commands precede."""
    if words[:1] == ["--config"]:
        words = words[1:]
    elif not words or not words[0].startswith("--config="):
        words = ["", *words]
    return words[1] if len(words) > 1 else None
