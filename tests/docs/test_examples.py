"""Every example runs on `pocket`, with its assertions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from postgres import postgres

pytestmark = pytest.mark.long

EXAMPLES = sorted((Path(__file__).parents[2] / "vllm_examples").glob("*.py"))


NEEDS = {"vector_stores_example": ["faiss", "qdrant_client"], "fastapi_example": ["fastapi"]}
"""Packages that aren't in the extras for users: a test that has to do without them is skipped, and says so."""


def run(example: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(example), *arguments, "--model", "pocket", "--engine", "torch"],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    for package in NEEDS.get(example.stem, ()):
        pytest.importorskip(package, reason=f"needs {package}")
    result = run(example, tmp_path)
    assert result.returncode == 0, result.stderr[-4000:]
    assert result.stdout.strip()
    assert list(tmp_path.iterdir()) == []


def test_example_of_a_store_in_postgresql(tmp_path: Path) -> None:
    """In a PostgreSQL of its own, with the extension that the package brings."""
    (example,) = [example for example in EXAMPLES if example.stem == "vector_stores_example"]
    with postgres(tmp_path / "database") as address:
        result = run(example, tmp_path, "pgvector", "--database", address)
    assert result.returncode == 0, result.stderr[-4000:]
    assert result.stdout == "pgvector: How is bread made? Bread is baked from flour, water, salt and yeast.\n"
