"""docs/bulk.md: its commands run, and its way into pgvector, on a real PostgreSQL."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jina_embeddings import JinaEmbeddings
from jina_embeddings.cli import app
from postgres import postgres

PAGE = (Path(__file__).parents[2] / "docs" / "bulk.md").read_text(encoding="utf-8")
TEXTS = ["The moon goes around the earth.", "Bread is baked from flour and water.", "A cat sleeps all day."]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    records = [{"text": text, "year": 1990 + number} for number, text in enumerate(TEXTS)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, records)))
    return tmp_path


def run(line: str) -> Any:
    arguments = [word for word in shlex.split(line)[1:] if word not in ("--model", "pocket")]
    return CliRunner().invoke(app, [*arguments, "--engine", "fake"], catch_exceptions=False)


@pytest.mark.long
@pytest.mark.usefixtures("folder")
def test_the_commands_run_one_after_the_other() -> None:
    lines = re.findall(r"^\$ (jina-embeddings .*)$", PAGE, re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        result = run(line)
        assert result.exit_code == 0, (line, result.stderr)
    assert CliRunner().invoke(app, ["status", "vectors/"]).exit_code == 0


@pytest.mark.long
def test_the_way_into_pgvector(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    psycopg = pytest.importorskip("psycopg")
    (line,) = [line for line in re.findall(r"^\$ (.*)$", PAGE, re.MULTILINE) if " --into vectors/ " in line]
    assert run(line).exit_code == 0
    (block,) = re.findall(r"```python no-run\n(.*?)```", PAGE, re.DOTALL)
    connect = psycopg.connect
    with postgres(folder / "data") as address:
        monkeypatch.setattr(psycopg, "connect", lambda _: connect(address))
        from jina_embeddings.pipeline import read_run

        with JinaEmbeddings(engine="fake") as model:
            question = model.encode_text(TEXTS[2], prompt_name="query", truncate_dim=128)
        exec(compile(block, "bulk.md", "exec"), {"read_run": read_run, "question": question})
        assert capsys.readouterr().out.strip() == TEXTS[2]
        with connect(address) as connection:
            assert connection.execute("SELECT count(*) FROM rows").fetchone() == (3,)
