"""Runs `jina-embeddings embed` in tests, and reads what it wrote."""

from __future__ import annotations

import sys
from typing import Any

from typer.testing import CliRunner

from jina_embeddings.cli import app

COMMAND = [sys.executable, "-c", "from jina_embeddings.cli import main; main()"]


def run(*arguments: str, stdin: str | None = None, engine: str = "fake") -> Any:
    return CliRunner().invoke(app, ["embed", *arguments, "--engine", engine], input=stdin, catch_exceptions=False)
