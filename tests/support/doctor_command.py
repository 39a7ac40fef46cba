"""Runs `jina-embeddings doctor` in tests."""

from __future__ import annotations

import json
import sys
from typing import Any

from typer.testing import CliRunner

from jina_embeddings.cli import app

COMMAND = [sys.executable, "-c", "from jina_embeddings.cli import main; main()", "doctor"]


def doctor(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and report; every problem must say what to do."""
    result = CliRunner().invoke(app, ["doctor", "--json", *arguments], catch_exceptions=False)
    report = json.loads(result.stdout)
    assert report["healthy"] == (result.exit_code == 0) == (report["problems"] == [])
    assert all(problem["what"] and problem["remedy"] for problem in report["problems"])
    return result.exit_code, report


def problem_of(*arguments: str) -> str:
    status, report = doctor(*arguments)
    assert status == 1
    (problem,) = report["problems"]
    return f"{problem['what']} | {problem['remedy']}"
